"""The REST pages: the documented paths and /v1, from the OpenAPI document."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from deploy.openapi import PREFIX, VERBS
from deploy.reference.markdown import anchor, page, table

Document = Mapping[str, Any]

DOCUMENTED = """
What each system documents, to the letter. Every path takes `GET`; unknown parameters are ignored,
and of a repeated one the last value counts. A running service has the same as an OpenAPI document
at `/openapi.json`, and a form for each call at `/docs`.
"""
V1 = """
The typed RPCs in ProtoJSON: field names in `lowerCamelCase`, times as RFC 3339, 64-bit integers as
strings. Credentials are `Authorization: Bearer TOKEN`. A status other than 200 has a
`google.rpc.Status` as its body; see [errors](errors.md). Fields are described with their messages.
"""

_LIMITS = (("minimum", "from {}"), ("maximum", "to {}"), ("maxItems", "at most {}"))
_MAX_SHOWN = 10**15
"""Above it a limit is one of a number's type, not of the contract."""


class Pages:
    """Writes the pages of an OpenAPI document."""

    def __init__(self, document: Document, grpc_link: Callable[[str], str]) -> None:
        self._document = document
        self._grpc_link = grpc_link

    def documented(self) -> str:
        """Return the page of the paths that the four systems document."""
        paths = {path: verbs for path, verbs in self._document["paths"].items() if not _is_v1(path)}
        parts = [DOCUMENTED]
        for tag in self._document["tags"]:
            tagged = [path for path, verbs in paths.items() if tag["name"] in verbs["get"]["tags"]]
            if not tagged:
                continue
            parts += [f"## {tag['name']}", f"The system: {tag['description']}."]
            for path in tagged:
                # Julep and Storyden serve the same paths under /api too.
                if path.removeprefix("/api") not in paths or not path.startswith("/api"):
                    parts += self._operation("get", path, f"/api{path}" if f"/api{path}" in paths else "")
        parts.append("## Bodies")
        for name, schema in self._document["components"]["schemas"].items():
            if not name.startswith("v1.") and name != "Status":
                parts += [f"### {name}", schema.get("description", ""), self._shape(schema)]
        return page("REST: the documented paths", *parts)

    def v1(self) -> str:
        """Return the page of the paths under /v1."""
        parts = [V1]
        for tag in self._document["tags"]:
            operations = [
                (verb, path)
                for path, verbs in self._document["paths"].items()
                for verb in VERBS
                if _is_v1(path) and tag["name"] in verbs.get(verb, {}).get("tags", ())
            ]
            if operations:
                parts += [f"## {tag['name']}", f"{tag['description']}."]
            for verb, path in operations:
                parts += self._operation(verb, path, "")
        return page("REST: /v1", *parts)

    def _operation(self, verb: str, path: str, alias: str) -> Iterator[str]:
        operation = self._document["paths"][path][verb]
        yield f"### `{verb.upper()} {path}`"
        yield f"{operation['summary']}. {operation.get('description', '')}".strip()
        if alias:
            yield f"Also `{verb.upper()} {alias}`."
        if not _is_v1(path):
            yield self._credentials(operation["security"])
        parameters = [self._resolved(parameter) for parameter in operation.get("parameters", ())]
        if parameters:
            yield self._parameters(parameters)
        if "requestBody" in operation:
            schema = next(iter(operation["requestBody"]["content"].values()))["schema"]
            yield f"Body: {self._type(schema)}"
        answers = operation["responses"].items()
        if _is_v1(path):
            answer = self._resolved(operation["responses"]["200"])
            yield f"Answer: {self._type(next(iter(answer['content'].values()))['schema'])}"
        else:
            yield table(("status", "meaning", "body"), [self._answer(*answer) for answer in answers])

    def _credentials(self, security: Iterable[Mapping[str, Sequence[str]]]) -> str:
        schemes = self._document["components"]["securitySchemes"]
        shown, needed = [], set[str]()
        for alternative in security:
            for name, scopes in alternative.items():
                needed |= set(scopes)
                shown.append(_credential(schemes[name]))
        needs = f"; the caller needs `{'`, `'.join(sorted(needed))}`" if needed else ""
        return f"Credentials: {', or '.join(shown)}{needs}."

    def _parameters(self, parameters: Iterable[Document]) -> str:
        rows = []
        for parameter in parameters:
            schema = parameter.get("schema") or next(iter(parameter["content"].values()))["schema"]
            default = f"`{schema['default']}`" if "default" in schema else ""
            kind = "path" if parameter["in"] == "path" else "query"
            rows.append(
                (
                    f"`{parameter['name']}`",
                    kind,
                    self._type(schema),
                    default,
                    parameter.get("description", ""),
                )
            )
        return table(("parameter", "in", "type", "default", "meaning"), rows)

    def _answer(self, status: str, reference: Document) -> tuple[str, str, str]:
        answer = self._resolved(reference)
        kind, content = next(iter(answer["content"].items()))
        if "$ref" in content["schema"]:
            return status, answer["description"], self._type(content["schema"])
        example = next(
            (each["value"] for each in content.get("examples", {}).values()), content.get("example")
        )
        body = f", such as `{json.dumps(example, ensure_ascii=False)}`" if example else ""
        return status, answer["description"], f"`{kind}`{body}"

    def _shape(self, schema: Document) -> str:
        """Return the table of an object's fields; the type of anything else."""
        rows = list(self._fields(schema, ""))
        if rows:
            return table(("field", "type", "there", "meaning"), rows)
        return f"Type: {self._type(schema)}"

    def _fields(self, schema: Document, prefix: str) -> Iterator[tuple[str, str, str, str]]:
        required = schema.get("required", ())
        for name, field in schema.get("properties", {}).items():
            there = "always" if name in required else "if it has a value"
            yield f"`{prefix}{name}`", self._type(field), there, field.get("description", "")
            yield from self._fields(field, f"{prefix}{name}.")
            if "items" in field:
                yield from self._fields(field["items"], f"{prefix}{name}[].")

    def _type(self, schema: Document) -> str:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            if name.startswith("v1."):
                short = name.removeprefix("v1.")
                return f"[`{short}`]({self._grpc_link(short)})"
            return f"[{name}](rest.md#{anchor(name)})"
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return " or ".join(self._type(each) for each in schema[several])
        if "const" in schema:
            return f"always `{schema['const']}`"
        if "enum" in schema:
            return ", ".join(f"`{value}`" for value in schema["enum"])
        named = schema.get("type", "any JSON")
        names = [named] if isinstance(named, str) else list(named)
        if "items" in schema:
            names[names.index("array")] = f"array of {self._type(schema['items'])}"
        return " or ".join(names) + _limits(schema)

    def _resolved(self, part: Document) -> Document:
        if "$ref" not in part:
            return part
        _, _, kind, name = part["$ref"].split("/")
        found: Document = self._document["components"][kind][name]
        return found


def _is_v1(path: str) -> bool:
    return path.startswith(PREFIX)


def _limits(schema: Document) -> str:
    found = [
        text.format(f"{schema[name]:,}")
        for name, text in _LIMITS
        if name in schema and abs(schema[name]) < _MAX_SHOWN
    ]
    if "pattern" in schema:
        found.append(f"`{schema['pattern']}`")
    return f", {' '.join(found)}" if found else ""


def _credential(scheme: Document) -> str:
    if scheme["type"] == "http":
        return "`Authorization: Bearer TOKEN`"
    place = "the cookie" if scheme["in"] == "cookie" else "the bare key in the header"
    return f"{place} `{scheme['name']}`"
