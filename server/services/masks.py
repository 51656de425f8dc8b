"""Field masks: which fields of a record an update takes (AIP-134, AIP-161)."""

from typing import Any, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from server.errors import InvalidArgumentError, shortened


def of(message: Message, mask: FieldMask, field: str) -> FieldMask:
    """Return a mask as it is meant: all fields for `*`, those that are set in `message` for none.

    Raises InvalidArgumentError if it names what `message`, the request's `field`, does not have.
    """
    if list(mask.paths) == ["*"]:
        return FieldMask(paths=[each.name for each in message.DESCRIPTOR.fields])
    if not mask.paths:
        return FieldMask(paths=[each.name for each, _ in message.ListFields()])
    for path in mask.paths:
        if not FieldMask(paths=[path]).IsValidForDescriptor(cast("Descriptor", message.DESCRIPTOR)):
            raise InvalidArgumentError("update_mask", f"{shortened(path)!r} is not a field of {field}")
    return mask


def merge(message: Message, into: Message, mask: FieldMask) -> None:
    """Copy the masked fields of a message into another one; those that are not set are cleared there."""
    _set_parents(message, mask)
    mask.MergeMessage(message, into, replace_message_field=True, replace_repeated_field=True)


def _set_parents(message: Any, mask: FieldMask) -> None:
    """Set what a mask's nested fields are in: MergeMessage would skip them, rather than clear them."""
    for path in mask.paths:
        parent = message
        for name in path.split(".")[:-1]:
            parent = getattr(parent, name)
            parent.SetInParent()


def covers(mask: FieldMask, path: str) -> bool:
    """Return whether a mask names a field, or what it is in."""
    return any(path == each or path.startswith(f"{each}.") for each in mask.paths)
