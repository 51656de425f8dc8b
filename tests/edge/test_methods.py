"""The method is the one in the request line. On a documented path it is GET, or it is not served."""

import pytest

from tests.edge.calls import Calls
from tests.edge.documented import PATHS, ask, contract_of, not_found
from tests.edge.proxies import Edge

METHODS = ("POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND")
OVERRIDES = (
    "X-HTTP-Method-Override: DELETE",
    "X-HTTP-Method: DELETE",
    "X-Method-Override: DELETE",
    "X-Original-Method: DELETE",
    "X-Original-URL: /v1/sessions",
    "X-Rewrite-URL: /v1/sessions",
    "X-Envoy-Original-Path: /v1/sessions",
    "X-Envoy-Original-Method: DELETE",
    "X-Forwarded-Prefix: /v1",
    ":method: DELETE",
)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_other_methods_are_not_served_and_never_reach_the_server(served: Edge, path: str) -> None:
    calls = Calls(served)
    answers = {method: ask(served, path, method=method) for method in (*METHODS, "HEAD")}
    assert calls.so_far() == []

    head = answers.pop("HEAD")
    assert (head.status, head.body) == (405 if contract_of(path) == "sessions" else 404, b"")
    for method, answer in answers.items():
        if contract_of(path) == "sessions":
            assert (method, answer.status, answer.json()) == (method, 405, {"detail": "Method Not Allowed"})
        else:
            assert not_found(path, answer), method


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_nothing_overrides_the_method_or_the_path(served: Edge, path: str) -> None:
    expected = ask(served, path)
    parameter = f"{path}{'&' if '?' in path else '?'}_method=DELETE"
    assert ask(served, parameter).json() == expected.json()
    for header in OVERRIDES:
        answer = ask(served, path, header)
        wanted = (400, None) if header.startswith(":") else (200, expected.json())
        assert (answer.status, answer.json() if answer.status == 200 else None) == wanted, header


def test_a_post_that_says_it_is_a_get_is_a_post(served: Edge) -> None:
    answer = ask(served, "/sessions", "X-HTTP-Method-Override: GET", method="POST")
    assert answer.status == 405
