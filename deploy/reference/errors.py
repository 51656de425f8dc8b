"""The page of error reasons: from the code, and the README's words on when they occur."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import grpc

from deploy.reference.markdown import NONE, page, table
from server import errors
from server.rest.answer import HTTP_STATUS

HEADER = "| reason | gRPC code | when | further details |"

INTRODUCTION = f"""
A typed call that fails ends with a gRPC code and a `google.rpc.Status`. Its first detail is an
`ErrorInfo` with the domain `{errors.DOMAIN}` and one of these reasons, which programs decide by;
the message is for people. Under `/v1` the same status is the body, with the HTTP status below.
"""
NOTES = """
- `BadRequest` names the field and its rule.
- `ResourceInfo` names the type and the key of the record.
- `RetryInfo` says how long to wait; over HTTP the header `Retry-After` says it too.

gRPC itself makes UNIMPLEMENTED for an unknown method, and RESOURCE_EXHAUSTED for a message that is
too large, without details. The documented paths answer errors with their own statuses and bodies:
see [the documented paths](rest.md).
"""

_HTTP = HTTP_STATUS | {grpc.StatusCode.ALREADY_EXISTS: 409, grpc.StatusCode.ABORTED: 409}
"""What Envoy makes of a gRPC code under /v1: the mapping of google.rpc.Code."""


def raised(server: Path) -> set[tuple[str, type[errors.RollcallError]]]:
    """Return every reason in the code below a folder, with the error that carries it."""
    found = {(error.reason, error) for error in _errors(errors.RollcallError) if "reason" in vars(error)}
    for path in server.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                error = getattr(errors, call.func.id, None)
                if inspect.isclass(error) and issubclass(error, errors.RollcallError):
                    reasons = [word.value for word in call.keywords if word.arg == "reason"]
                    found |= {(_value(reason), error) for reason in reasons}
    return found


def details(error: type[errors.RollcallError]) -> str:
    """Return the types of an error's details beside ErrorInfo."""
    made = error("field", "rule") if issubclass(error, errors.InvalidArgumentError) else error("message")
    return ", ".join(detail.DESCRIPTOR.name for detail in made.details()[1:]) or NONE


def rows(header: str, document: str) -> list[list[str]]:
    """Return the cells of the table under a header."""
    lines = document.split(f"{header}\n", 1)[1].splitlines()[1:]
    ends = next(number for number, line in enumerate(lines) if not line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:ends]]


def reasons(readme: str, server: Path) -> str:
    """Return the page."""
    when = {reason.strip("`"): text for reason, _, text, _ in rows(HEADER, readme)}
    known = sorted(raised(server), key=lambda each: (each[1].code.value[0], each[0]))
    lines = [
        (
            f"`{reason}`",
            f"{error.code.name} ({error.code.value[0]})",
            str(_HTTP.get(error.code, 500)),
            when.get(reason, ""),
            details(error).replace(NONE, ""),
        )
        for reason, error in known
    ]
    return page(
        "Errors",
        INTRODUCTION,
        table(("reason", "gRPC code", "HTTP under /v1", "when", "further details"), lines),
        NOTES,
    )


def _errors(error: type[errors.RollcallError]) -> Iterator[type[errors.RollcallError]]:
    yield error
    for derived in error.__subclasses__():
        yield from _errors(derived)


def _value(expression: ast.expr) -> str:
    if isinstance(expression, ast.Name):
        return str(getattr(errors, expression.id))
    return str(ast.literal_eval(expression))
