"""The gRPC pages: one a proto file, from the comments of the descriptor set."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

from deploy.openapi import PACKAGE, VERBS, Protos
from deploy.reference.markdown import anchor, page, table

SYNTAX = 12
"""The field of a file's descriptor whose comment is that of the whole file."""

_GUIDE = "https://protobuf.dev/reference/protobuf/google.protobuf/"
_BEHAVIOR = field_behavior_pb2.FieldBehavior


class Pages:
    """Writes the pages of a descriptor set."""

    def __init__(self, image: FileDescriptorSet) -> None:
        self._protos = Protos(image)
        self._files = [file for file in image.file if file.package == PACKAGE]
        self._homes = dict(self._all_homes())

    def all(self) -> dict[str, str]:
        """Return the pages by their file names."""
        return {_page_of(file): self._page(file) for file in self._files}

    def message_link(self, message: str) -> str:
        """Return the page and anchor of a message, by its short name."""
        home, heading = self._homes[f".{PACKAGE}.{message}"]
        return f"{home}#{anchor(heading)}"

    def _all_homes(self) -> Iterator[tuple[str, tuple[str, str]]]:
        """Yield every type with its page and its heading there."""
        for file in self._files:
            for name, _ in _types(file, f".{PACKAGE}"):
                yield name, (_page_of(file), name.removeprefix(f".{PACKAGE}."))

    def _page(self, file: FileDescriptorProto) -> str:
        parts = [_comment_of(file), f"Source: `protos/{file.name}`, package `{PACKAGE}`."]
        for service in file.service:
            parts += self._service(service)
        types = list(_types(file, f".{PACKAGE}"))
        parts.append("## Messages")
        for name, part in types:
            parts += [f"### {name.removeprefix(f'.{PACKAGE}.')}", self._protos.comments[name]]
            parts.append(
                self._fields(name, part) if isinstance(part, DescriptorProto) else self._values(name, part)
            )
        subject = " and ".join(service.name for service in file.service) or types[0][0].rpartition(".")[2]
        return page(f"gRPC: {subject}", *parts)

    def _service(self, service: ServiceDescriptorProto) -> list[str]:
        name = f".{PACKAGE}.{service.name}"
        parts = [f"## {service.name}", self._protos.comments[name]]
        for method in service.method:
            parts += [f"### {method.name}", self._protos.comments[f"{name}.{method.name}"]]
            parts.append(self._signature(method))
        return parts

    def _signature(self, method: MethodDescriptorProto) -> str:
        stream = "stream of " if method.server_streaming else ""
        lines = [
            f"- Request: {self._named(method.input_type)}",
            f"- Response: {stream}{self._named(method.output_type)}",
        ]
        rule = method.options.Extensions[annotations_pb2.http]
        bindings = [
            f"`{verb.upper()} {getattr(binding, verb)}`"
            for binding in (rule, *rule.additional_bindings)
            for verb in VERBS
            if getattr(binding, verb)
        ]
        return "\n".join([*lines, f"- REST: {', '.join(bindings)}"] if bindings else lines)

    def _fields(self, name: str, message: DescriptorProto) -> str:
        if not message.field:
            return "No fields."
        rows = [
            (
                f"`{field.name}`",
                str(field.number),
                self._type(field),
                " ".join([self._protos.comments[f"{name}.{field.name}"], _behavior(field)]),
            )
            for field in message.field
        ]
        return table(("field", "number", "type", "meaning"), rows)

    def _values(self, name: str, enum: EnumDescriptorProto) -> str:
        rows = [
            (f"`{value.name}`", str(value.number), self._protos.comments[f"{name}.{value.name}"])
            for value in enum.value
        ]
        return table(("value", "number", "meaning"), rows)

    def _type(self, field: FieldDescriptorProto) -> str:
        if field.type_name:
            text = self._named(field.type_name)
        else:
            text = f"`{FieldDescriptorProto.Type.Name(field.type).removeprefix('TYPE_').lower()}`"
        if field.label == FieldDescriptorProto.LABEL_REPEATED:
            return f"repeated {text}"
        return f"optional {text}" if field.proto3_optional else text

    def _named(self, name: str) -> str:
        """Return a type's name, with a link to where it is described."""
        if name in self._homes:
            home, heading = self._homes[name]
            return f"[`{heading}`]({home}#{anchor(heading)})"
        short = name.removeprefix(".")
        if short.startswith("google.protobuf."):
            return f"[`{short}`]({_GUIDE}#{short.rpartition('.')[2].lower()})"
        return f"`{short}`"


def _types(parent: Any, scope: str) -> Iterator[tuple[str, DescriptorProto | EnumDescriptorProto]]:
    """Yield the messages and enums of a file or message, each before those within it."""
    messages = parent.message_type if isinstance(parent, FileDescriptorProto) else parent.nested_type
    for message in messages:
        yield f"{scope}.{message.name}", message
        yield from _types(message, f"{scope}.{message.name}")
    for enum in parent.enum_type:
        yield f"{scope}.{enum.name}", enum


def _behavior(field: FieldDescriptorProto) -> str:
    behaviors = field.options.Extensions[field_behavior_pb2.field_behavior]
    return " ".join(f"*{_BEHAVIOR.Name(each).replace('_', ' ').capitalize()}.*" for each in behaviors)


def _comment_of(file: FileDescriptorProto) -> str:
    found = [place for place in file.source_code_info.location if list(place.path) == [SYNTAX]]
    return "\n".join(line.strip() for line in found[0].leading_comments.splitlines()) if found else ""


def _page_of(file: FileDescriptorProto) -> str:
    return f"grpc-{PurePath(file.name).stem.replace('_', '-')}.md"
