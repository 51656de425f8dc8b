"""The OpenAPI document, taken at its word by schemathesis: every answer is one that it documents."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
import requests
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fuzz.report import Row, fuzzing, tries
from tests.fuzz.verdict import MAX_TEXT, quiet_log, unmasked
from tests.services import kit
from tests.stack import Stack

SECONDS = 30
DOCUMENTED = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@dataclass(frozen=True)
class Api:
    """What the document offers, and a client of the proxy."""

    operations: tuple[Any, ...]
    session: requests.Session
    url: str
    authorization: str

    def call(self, row: Row, case: Case[Any], authorization: str | None) -> int:
        """Send a case; judge its answer; return its status."""
        headers = {} if authorization is None else {"Authorization": authorization}
        for name in [name for name in case.headers if name.lower() in {"authorization", "cookie"}]:
            del case.headers[name]
        case.cookies.clear()
        answer = case.call(base_url=self.url, session=self.session, headers=headers, timeout=SECONDS)
        row.count(refused=answer.status_code >= 400)
        row.unexpected += answer.status_code >= 500
        sent = f"{answer.request.method} {answer.request.url} {dict(answer.request.headers)}"
        sent = sent.replace(self.authorization, "")
        assert answer.status_code < 500, f"{sent[:2000]} {answer.text[:300]}"
        if answer.status_code >= 400:
            row.unmasked += unmasked(answer.text) is not None
            assert unmasked(answer.text) is None, answer.text[:300]
            assert len(answer.text) <= MAX_TEXT
        case.validate_response(answer, checks=DOCUMENTED)
        return int(answer.status_code)


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[Api]:
    document = stack.get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    operations = tuple(cast("Any", found).ok() for found in schema.get_all_operations())
    assert len(operations) > 40
    with quiet_log(stack), requests.Session() as session:
        yield Api(operations, session, stack.rest, f"Bearer {kit.writer(stack).token}")


def cases(draw: st.DataObject, api: Api, mode: GenerationMode) -> Case[Any]:
    operation = draw.draw(st.sampled_from(api.operations))
    case: Case[Any] = draw.draw(operation.as_strategy(generation_mode=mode))
    return case


@tries(40, 1000)
@given(st.data())
def test_what_the_document_allows_is_answered_as_it_says(api: Api, data: st.DataObject) -> None:
    with fuzzing("OpenAPI: allowed") as row:
        api.call(row, cases(data, api, GenerationMode.POSITIVE), api.authorization)


@tries(25, 600)
@given(st.data())
def test_what_the_document_forbids_is_answered_as_it_says(api: Api, data: st.DataObject) -> None:
    with fuzzing("OpenAPI: forbidden") as row:
        api.call(row, cases(data, api, GenerationMode.NEGATIVE), api.authorization)


BAD = (None, "", "Bearer", "Bearer x", "Basic YTpi", "x" * 3000, "Bearer " + "e30." * 3)


@tries(25, 400)
@given(st.data(), st.sampled_from(BAD))
def test_without_good_credentials_nothing_is_answered(
    api: Api, data: st.DataObject, authorization: str | None
) -> None:
    with fuzzing("OpenAPI: credentials") as row:
        status = api.call(row, cases(data, api, GenerationMode.POSITIVE), authorization)
        assert status >= 400
