"""A user session's dialogue: items whose content is text or, recursively, items."""

from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from google.protobuf.message import Message
from rollcall.v1 import user_session_pb2 as pb

from server.records import anyjson
from server.records.fields import (
    FLAG,
    NUMBER,
    OPTIONAL,
    TEXT,
    Codec,
    Field,
    Schema,
    enum_of,
    wrapped_list_of,
)
from server.records.violation import FieldError

_FIELDS = (
    Field("id", NUMBER),
    Field("contentType", enum_of(pb.DialogueItem.ContentType, "CONTENT_TYPE_")),
    Field("isUser", FLAG),
    Field("ui", TEXT, OPTIONAL),
)


class _Item(Schema):
    """A dialogue item at some depth; its `content` is two fields of a oneof: `text` and `items`."""

    def __init__(self, depth: int) -> None:
        super().__init__(pb.DialogueItem, *_FIELDS)
        self._depth = depth

    def check(self, document: Any) -> dict[str, Any]:
        if type(document) is not dict:
            raise FieldError("must be an object")
        rest = dict(document)
        try:
            content = self._check_content(rest.pop("content", None))
        except FieldError as error:
            raise error.within("content") from None
        return {**super().check(rest), "content": content}

    def _check_content(self, value: Any) -> Any:
        if type(value) is str:
            return anyjson.text(value)
        if type(value) is not list:
            raise FieldError("is required: a string or an array of dialogue items")
        if self._depth == anyjson.MAX_DEPTH:
            raise FieldError(f"must not be deeper than {anyjson.MAX_DEPTH} levels")
        return dialogue(self._depth + 1).check(value)

    def to_proto(self, checked: Mapping[str, Any]) -> Message:
        rest = dict(checked)
        content = rest.pop("content")
        item = cast("pb.DialogueItem", super().to_proto(rest))
        if isinstance(content, str):
            item.text = content
        else:
            item.items.CopyFrom(dialogue(self._depth + 1).to_proto(content))
        return item

    def from_proto(self, message: Message) -> dict[str, Any]:
        item = cast("pb.DialogueItem", message)
        document = super().from_proto(item)
        kind = item.WhichOneof("content")
        if kind == "text":
            document["content"] = item.text
        elif kind == "items":
            document["content"] = dialogue(self._depth + 1).from_proto(item.items)
        return document


@cache
def dialogue(depth: int = 1) -> Codec:
    """Return the codec of a list of items at `depth`; the outermost is 1."""
    return wrapped_list_of(_Item(depth).codec, pb.Dialogue)
