"""Writes the OpenAPI document as JSON: `openapi.py OPENAPI_YAML DESCRIPTOR_SET`.

The documented paths come from the YAML file; /v1 from the HTTP rules and comments of the protos.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

Document = dict[str, Any]

PREFIX = "/v1/"
JSON_TYPE = "application/json"
OUTPUT_ONLY = field_behavior_pb2.OUTPUT_ONLY
PACKAGE = "rollcall.v1"
PARTS = {
    "message_type": "messages",
    "nested_type": "messages",
    "enum_type": "enums",
    "service": "services",
    "method": "",
    "field": "",
    "value": "",
}
"""Repeated fields of descriptors that have a name and a comment, and where Protos keeps them."""
VERBS = ("get", "post", "put", "patch", "delete")

_FIELD = FieldDescriptorProto
_SCALARS: dict[int, Document] = {
    _FIELD.TYPE_BOOL: {"type": "boolean"},
    _FIELD.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    _FIELD.TYPE_DOUBLE: {"type": "number"},
    _FIELD.TYPE_INT32: {"type": "integer", "format": "int32"},
    _FIELD.TYPE_INT64: {"type": "string", "format": "int64"},
    _FIELD.TYPE_STRING: {"type": "string"},
}
_WELL_KNOWN: dict[str, Document] = {
    ".google.protobuf.Empty": {"type": "object", "additionalProperties": False},
    ".google.protobuf.FieldMask": {"type": "string"},
    ".google.protobuf.ListValue": {"type": "array"},
    ".google.protobuf.Struct": {"type": "object"},
    ".google.protobuf.Timestamp": {"$ref": "#/components/schemas/Time"},
    ".google.protobuf.Value": {},
}
_IN_PATH = re.compile(r"\{([\w.]+)\}")
_MARKDOWN_INDENT = re.compile(r"^ ", re.MULTILINE)


class Protos:
    """The messages, enums and services of the package by their names, and the comments above them."""

    def __init__(self, image: FileDescriptorSet) -> None:
        self.messages: dict[str, DescriptorProto] = {}
        self.enums: dict[str, EnumDescriptorProto] = {}
        self.services: dict[str, ServiceDescriptorProto] = {}
        self.comments: dict[str, str] = {}
        for file in image.file:
            if file.package == PACKAGE:
                comments = {
                    tuple(location.path): _MARKDOWN_INDENT.sub("", location.leading_comments).strip()
                    for location in file.source_code_info.location
                }
                self._read(file, f".{file.package}", (), comments)

    def _read(self, parent: Any, scope: str, path: tuple[int, ...], comments: Mapping[Any, str]) -> None:
        for part_of in parent.DESCRIPTOR.fields:
            if part_of.name not in PARTS:
                continue
            for index, part in enumerate(getattr(parent, part_of.name)):
                name, place = f"{scope}.{part.name}", (*path, part_of.number, index)
                self.comments[name] = comments.get(place, "")
                known: dict[str, Any] | None = getattr(self, PARTS[part_of.name], None)
                if known is not None:
                    known[name] = part
                self._read(part, name, place, comments)


class Writer:
    """Adds the services' operations, and the messages that they use, to a document."""

    def __init__(self, protos: Protos, document: Document) -> None:
        self._protos = protos
        self._document = document

    def add(self, name: str) -> None:
        """Add the operations of a service whose paths are under /v1."""
        tag = name.rpartition(".")[2]
        tagged = False
        for method in self._protos.services[name].method:
            rule = method.options.Extensions[annotations_pb2.http]
            for number, binding in enumerate((rule, *rule.additional_bindings), 1):
                verb = next((verb for verb in VERBS if getattr(binding, verb)), "")
                path = getattr(binding, verb, "")
                if path.startswith(PREFIX):
                    summary, more = _sentences(self._protos.comments[f"{name}.{method.name}"])
                    # One path, whether its id is the request's or in its record.
                    shown = _IN_PATH.sub(lambda found: f"{{{found[1].rpartition('.')[2]}}}", path)
                    self._document["paths"].setdefault(shown, {})[verb] = {
                        "operationId": method.name if number == 1 else f"{method.name}{number}",
                        "tags": [tag],
                        # Plain text, by OpenAPI.
                        "summary": summary.replace("`", ""),
                        "description": more,
                        "security": [{"bearer": []}],
                        **self._request(method.input_type, path, binding.body),
                        "responses": self._responses(method.output_type),
                    }
                    tagged = True
        if tagged:
            summary, _ = _sentences(self._protos.comments[name])
            self._document["tags"].append({"name": tag, "description": summary})

    def _request(self, name: str, path: str, body: str) -> Document:
        in_path = _IN_PATH.findall(path)
        made: Document = {}
        parameters = [self._path_parameter(name, field) for field in in_path]
        if body != "*":
            parameters += self._query_parameters(name, {body, *in_path})
        if parameters:
            made["parameters"] = parameters
        if body:
            message = self._protos.messages[name]
            field = next((field for field in message.field if field.name == body), None)
            schema = self._message(name) if field is None else self._value(field)
            made["requestBody"] = {"required": True, "content": {JSON_TYPE: {"schema": schema}}}
        return made

    def _responses(self, name: str) -> Document:
        answer = {"description": "The answer.", "content": {JSON_TYPE: {"schema": self._message(name)}}}
        return {"200": answer, "default": {"$ref": "#/components/responses/Error"}}

    def _path_parameter(self, name: str, path: str) -> Document:
        *outer, last = path.split(".")
        for step in outer:
            name = _field(self._protos.messages[name], step).type_name
        field = _field(self._protos.messages[name], last)
        return {"name": last, "in": "path", "required": True, **self._described(name, field)}

    def _query_parameters(self, name: str, others: set[str]) -> list[Document]:
        return [
            {"name": field.json_name, "in": "query", **self._described(name, field)}
            for field in self._protos.messages[name].field
            # An object cannot be in a query.
            if field.name not in others and field.type_name != ".google.protobuf.Struct"
        ]

    def _described(self, message: str, field: FieldDescriptorProto) -> Document:
        comment = self._protos.comments[f"{message}.{field.name}"]
        return {"description": comment, "schema": self._value(field)}

    def _value(self, field: FieldDescriptorProto) -> Document:
        """Return the schema of a field's value."""
        if field.type == _FIELD.TYPE_MESSAGE:
            schema = self._message(field.type_name)
        elif field.type == _FIELD.TYPE_ENUM:
            schema = {
                "type": "string",
                "enum": [each.name for each in self._protos.enums[field.type_name].value],
            }
        else:
            schema = dict(_SCALARS[field.type])
        return {"type": "array", "items": schema} if field.label == _FIELD.LABEL_REPEATED else schema

    def _message(self, name: str) -> Document:
        """Return a reference to the schema of a message, which is added if it is new."""
        if name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[name])
        short = name.removeprefix(".rollcall.")
        schemas = self._document["components"]["schemas"]
        if short not in schemas:
            properties: Document = {}
            schemas[short] = {
                "type": "object",
                "description": self._protos.comments[name],
                "properties": properties,
                "additionalProperties": False,
            }
            for field in self._protos.messages[name].field:
                properties[field.json_name] = self._property(name, field)
        return {"$ref": f"#/components/schemas/{short}"}

    def _property(self, message: str, field: FieldDescriptorProto) -> Document:
        read_only = OUTPUT_ONLY in field.options.Extensions[field_behavior_pb2.field_behavior]
        comment = self._protos.comments[f"{message}.{field.name}"]
        return {
            **self._value(field),
            **({"description": comment} if comment else {}),
            **({"readOnly": True} if read_only else {}),
        }


def _field(message: DescriptorProto, name: str) -> FieldDescriptorProto:
    return next(field for field in message.field if field.name == name)


def _sentences(comment: str) -> tuple[str, str]:
    """Return a comment's first sentence, without its full stop, and the rest."""
    first, _, rest = " ".join(comment.split()).partition(". ")
    return first.removesuffix("."), rest


def main(arguments: Sequence[str]) -> None:
    """Print the document."""
    source, image = map(Path, arguments)
    document = yaml.safe_load(source.read_text())
    protos = Protos(FileDescriptorSet.FromString(image.read_bytes()))
    writer = Writer(protos, document)
    for service in protos.services:
        writer.add(service)
    sys.stdout.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
