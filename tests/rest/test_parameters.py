"""Every parameter and every error of the four contracts, through Envoy."""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.parts import (
    FOUNDRY,
    ROBOTS,
    SCOPE,
    Body,
    account,
    agent_line,
    agent_session,
    line,
    message,
    moment,
    robot,
    robot_session,
    session,
    session_rid,
    uid,
    user_session,
    xid,
)
from tests.stack import PLAIN, Stack, running_stack

JSON = "application/json"
PROBLEM = "application/problem+json"
DIGITS = "9" * 4000
KILOBYTES_64 = "x=" + "y" * 65_000

ALL_PATHS = (
    "/session",
    "/sessions",
    "/api/sessions",
    "/robots/sessions",
    "/api/robots/sessions",
    "/robots",
    "/api/robots",
    f"/robots/{xid(1)}",
    f"/api/robots/{xid(1)}",
    f"/robots/sessions/{xid(1)}",
    f"/api/robots/sessions/{xid(1)}",
    FOUNDRY,
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A service of this module's own: robots are the whole installation's, so all of them are known."""
    with running_stack(tmp_path_factory.mktemp("parameters") / "data") as running:
        running.load(*USER_LINES, *SESSION_LINES, *METADATA_LINES, *MANY_LINES, *ROBOT_LINES, *AGENT_LINES)
        yield running


def anybody(service: Stack, sub: str = "ada", tenant: str | None = None) -> str:
    """Return a token that every contract accepts."""
    return service.token(
        sub, tenant, scopes=[SCOPE], permissions=[ROBOTS], client_id="console", groups=["support"]
    )


def get(service: Stack, path: str, sub: str = "ada", tenant: str | None = None) -> httpx.Response:
    return service.get(path, anybody(service, sub, tenant))


def expect(response: httpx.Response, status: int, body: object, content_type: str = JSON) -> None:
    """Check an answer to the letter; error bodies are ASCII."""
    assert (response.status_code, response.headers["content-type"]) == (status, content_type), response.text
    assert response.json() == body
    assert response.is_success or response.content.isascii()


def expect_problem(response: httpx.Response, status: int, kind: str) -> None:
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM), response.text
    problem = response.json()
    assert problem["type"] == f"urn:storyden:problem:{kind}"
    assert problem.keys() <= {"type", "title", "detail", "trace_id", "metadata"}
    assert all(isinstance(problem[key], str) and problem[key] for key in ("title", "detail", "trace_id"))
    assert response.content.isascii()


def foundry_error(response: httpx.Response) -> tuple[Any, ...]:
    """Return an error's status, code, name and parameters; check the rest of it."""
    assert response.headers["content-type"] == JSON
    assert response.content.isascii()
    error = response.json()
    assert error.keys() - {"errorDescription"} == {"errorCode", "errorName", "errorInstanceId", "parameters"}
    assert str(uuid.UUID(error["errorInstanceId"])) == error["errorInstanceId"]
    return response.status_code, error["errorCode"], error["errorName"], error["parameters"]


# Section 1: user session

USER_SESSIONS = (
    user_session(uuid="c", updatedAt=moment(3), userInfo="ada"),
    user_session(uuid="a", updatedAt="2026-01-02T00:00:02.000000001Z", userInfo={"id": "ada"}),
    user_session(uuid="b", updatedAt="2026-01-02T00:00:02.000000001Z", name="n", dialogue=[], clicks=[]),
    user_session(uuid="A", updatedAt=moment(2)),
    user_session(uuid="z", updatedAt=moment(1)),
)
USER_LINES = (
    *(line("user_session", body, user_id="ada") for body in reversed(USER_SESSIONS)),
    line("user_session", user_session(uuid="c", name="another owner's"), user_id="bob"),
)


@pytest.mark.parametrize("query", ["", "?", "?limit=abc&offset=-1", "?%ff=%ff", "?user_id=bob", "?a=1&a=2"])
def test_user_sessions_are_listed_whole_whatever_the_query(service: Stack, query: str) -> None:
    expect(get(service, f"/session{query}"), 200, list(USER_SESSIONS))


def test_a_user_without_sessions_gets_an_empty_array(service: Stack) -> None:
    assert get(service, "/session", "nobody").text == "[]"


# Section 2: session

SESSIONS = [
    session(id=uid(number), situation=str(number), created_at=moment(created), updated_at=moment(updated))
    for number, (created, updated) in enumerate(
        [(5, 50), (4, 60), (4, 70), (4, 70), (3, 10), (2, 70), (1, 5)]
    )
]
SESSION_LINES = [line("session", body, developer_id="acme") for body in SESSIONS]
MANY_LINES = [
    line("session", session(id=uid(number), created_at=moment(number)), developer_id="many")
    for number in range(1003)
]


def situations(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == JSON
    assert response.json().keys() == {"items"}
    return [item["situation"] for item in response.json()["items"]]


def int_detail(name: str, received: str) -> dict[str, str]:
    message = "Input should be a valid integer, unable to parse string as an integer"
    return {"type": "int_parsing", "msg": message, "loc": f"query.{name}", "received": received}


def enum_detail(name: str, values: str, received: str) -> dict[str, str]:
    return {
        "type": "literal_error",
        "msg": f"Input should be {values}",
        "loc": f"query.{name}",
        "received": received,
    }


def sort_detail(received: str) -> dict[str, str]:
    return enum_detail("sort_by", "'created_at' or 'updated_at'", received)


def direction_detail(received: str) -> dict[str, str]:
    return enum_detail("direction", "'asc' or 'desc'", received)


def validation_error(*details: Mapping[str, str]) -> dict[str, Any]:
    return {"error": {"message": "Validation error", "details": list(details), "code": "validation_error"}}


def http_error(status: int, text: str) -> dict[str, Any]:
    return {"error": {"message": text, "code": f"http_{status}", "type": "http_error"}}


OUT_OF_RANGE = http_error(400, "Invalid session data provided during list")


@pytest.mark.parametrize("path", ["/sessions", "/api/sessions"])
@pytest.mark.parametrize(
    ("query", "slice_"),
    [
        ("", slice(None)),
        ("limit=2", slice(2)),
        ("limit=1&limit=3", slice(3)),
        ("limit=abc&limit=3", slice(3)),
        ("offset=0", slice(None)),
        ("offset=2&limit=2", slice(2, 4)),
        ("offset=6", slice(6, None)),
        ("offset=7", slice(0)),
        ("offset=1000000", slice(0)),
        ("offset=9223372036854775807", slice(0)),
        ("limit=9223372036854775807", slice(None)),
        ("limit=9223372036854775807&offset=9223372036854775807", slice(0)),
        ("limit=0", slice(0)),
        ("limit=0&offset=3", slice(0)),
        ("Limit=abc&LIMIT=1&sort=x&sortBy=x&order=x&%ff=1", slice(None)),
        ("limit[]=1&limit.x=abc", slice(None)),
    ],
)
def test_limit_and_offset_cut_a_window(service: Stack, path: str, query: str, slice_: slice) -> None:
    everything = situations(get(service, "/sessions", tenant="acme"))
    assert sorted(everything) == list("0123456")
    response = get(service, f"{path}?{query}", tenant="acme")
    assert situations(response) == everything[slice_]
    if slice_ == slice(0):
        assert response.text == '{"items":[]}'


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 100),
        ("limit=1000", 1000),
        ("limit=1001", 1000),
        ("limit=5000", 1000),
        ("offset=1000&limit=5000", 3),
    ],
)
def test_at_most_a_thousand_sessions_are_returned(service: Stack, query: str, count: int) -> None:
    items = get(service, f"/sessions?{query}", tenant="many").json()["items"]
    assert len({item["id"] for item in items}) == count


@pytest.mark.parametrize("sort_by", [None, "created_at", "updated_at"])
@pytest.mark.parametrize("direction", [None, "asc", "desc"])
def test_sessions_are_sorted_in_a_total_order(
    service: Stack, sort_by: str | None, direction: str | None
) -> None:
    given = {"sort_by": sort_by, "direction": direction}
    query = "&".join(f"{name}={value}" for name, value in given.items() if value)
    response = get(service, f"/sessions?{query}", tenant="acme")
    items = response.json()["items"]
    times = [item[sort_by or "created_at"] for item in items]
    assert times == sorted(times, reverse=direction != "asc")
    assert len({item["id"] for item in items}) == len(SESSIONS)
    one_by_one = [
        item
        for n in range(len(SESSIONS))
        for item in get(service, f"/sessions?{query}&limit=1&offset={n}", tenant="acme").json()["items"]
    ]
    assert one_by_one == items


@pytest.mark.parametrize("path", ["/sessions", "/api/sessions"])
@pytest.mark.parametrize(
    ("query", "status", "body"),
    [
        ("limit=abc", 422, validation_error(int_detail("limit", "abc"))),
        ("limit=", 422, validation_error(int_detail("limit", ""))),
        ("limit=1.5", 422, validation_error(int_detail("limit", "1.5"))),
        ("limit=1e2", 422, validation_error(int_detail("limit", "1e2"))),
        ("limit=true", 422, validation_error(int_detail("limit", "true"))),
        ("limit=0x10", 422, validation_error(int_detail("limit", "0x10"))),
        ("limit=%D9%A3", 422, validation_error(int_detail("limit", "\u0663"))),
        ("limit=%ff", 422, validation_error(int_detail("limit", "\ufffd"))),
        ("limit=%00", 422, validation_error(int_detail("limit", "\0"))),
        ("limit=%F0%9F%99%82", 422, validation_error(int_detail("limit", "\U0001f642"))),
        ("limit=1%0D%0Ax:%20y", 422, validation_error(int_detail("limit", "1\r\nx: y"))),
        ("limit=" + "a" * 3000, 422, validation_error(int_detail("limit", "a" * 1000))),
        ("limit=1&limit=abc", 422, validation_error(int_detail("limit", "abc"))),
        ("offset=abc", 422, validation_error(int_detail("offset", "abc"))),
        ("offset=%ff", 422, validation_error(int_detail("offset", "\ufffd"))),
        ("sort_by=name", 422, validation_error(sort_detail("name"))),
        ("sort_by=", 422, validation_error(sort_detail(""))),
        ("sort_by=CREATED_AT", 422, validation_error(sort_detail("CREATED_AT"))),
        ("sort_by=%ff", 422, validation_error(sort_detail("\ufffd"))),
        ("direction=up", 422, validation_error(direction_detail("up"))),
        ("direction=DESC", 422, validation_error(direction_detail("DESC"))),
        ("direction=%ff%fe", 422, validation_error(direction_detail("\ufffd\ufffd"))),
        (
            "direction=d&sort_by=c&offset=b&limit=a",
            422,
            validation_error(
                int_detail("limit", "a"), int_detail("offset", "b"), sort_detail("c"), direction_detail("d")
            ),
        ),
        ("direction=d&limit=a", 422, validation_error(int_detail("limit", "a"), direction_detail("d"))),
        ("offset=-1&limit=abc", 422, validation_error(int_detail("limit", "abc"))),
        (f"offset={DIGITS}&limit=abc", 422, validation_error(int_detail("limit", "abc"))),
        ("limit=-1", 400, OUT_OF_RANGE),
        ("offset=-1", 400, OUT_OF_RANGE),
        ("limit=0&offset=-1", 400, OUT_OF_RANGE),
        ("limit=-9223372036854775808", 400, OUT_OF_RANGE),
        ("limit=9223372036854775808", 400, OUT_OF_RANGE),
        ("offset=9223372036854775808", 400, OUT_OF_RANGE),
        (f"limit={DIGITS}", 400, OUT_OF_RANGE),
        (f"limit=-{DIGITS}", 400, OUT_OF_RANGE),
        (f"offset={DIGITS}", 400, OUT_OF_RANGE),
        (f"limit={DIGITS * 10}", 400, OUT_OF_RANGE),
    ],
)
def test_a_bad_session_parameter_is_refused_in_julep_s_words(
    service: Stack, path: str, query: str, status: int, body: object
) -> None:
    expect(get(service, f"{path}?{query}", tenant="acme"), status, body)


METADATA: dict[str, dict[str, Any]] = {
    "one": {"n": 1},
    "one as a double": {"n": 1.0, "x": "y"},
    "half": {"n": 0.5},
    "zero": {"n": 0},
    "text of one": {"n": "1"},
    "true": {"n": True},
    "text true": {"n": "true"},
    "null": {"n": None},
    "text null": {"n": "null"},
    "list": {"n": [1]},
    "pair": {"n": [1, 2]},
    "object": {"n": {"gt": 1, "a": [1]}},
    "operator": {"n": {"$gt": 0}},
    "dots": {"a.b": 1},
    "nested": {"a": {"b": 1}},
    "dollar": {"$where": "1 == 1", "$ne": 5},
    "empty key": {"": "x"},
    "empty text": {"n": ""},
    "thousand": {"n": 1000},
    "text nan": {"n": "nan"},
    "text inf": {"n": "Infinity"},
    "greatest": {"n": 2**53},
    "least": {"n": -(2**53)},
    "beyond": {"n": 2.0**60},
    "tiny": {"n": 5e-324},
    "negative": {"n": -7},
    "other": {"n": 2, "x": "y"},
    "words": {"n": "two words", "clé é": "ü"},
    "long": {"n": "l" * 2000},
    "plain": {},
}
METADATA_LINES = [
    line("session", session(id=uid(number), situation=name, metadata=metadata), developer_id="meta")
    for number, (name, metadata) in enumerate(METADATA.items())
]
ONES = {"one", "one as a double"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # A value is read as an integer, else a number, else text.
        ("metadata_filter.n=1", ONES),
        ("metadata_filter.n=1.0", ONES),
        ("metadata_filter.n=1e0", ONES),
        ("metadata_filter.n=01", ONES),
        ("metadata_filter.n=0.5", {"half"}),
        ("metadata_filter.n=.5", {"half"}),
        ("metadata_filter.n=5e-1", {"half"}),
        ("metadata_filter.n=0", {"zero"}),
        ("metadata_filter.n=-0", {"zero"}),
        ("metadata_filter.n=-0.0", {"zero"}),
        ("metadata_filter.n=1e3", {"thousand"}),
        ("metadata_filter.n=-7", {"negative"}),
        ("metadata_filter.n=5e-324", {"tiny"}),
        ("metadata_filter.n=true", {"text true"}),
        ("metadata_filter.n=True", set()),
        ("metadata_filter.n=null", {"text null"}),
        ("metadata_filter.n=nan", {"text nan"}),
        ("metadata_filter.n=Infinity", {"text inf"}),
        ("metadata_filter.n=%221%22", set()),
        ("metadata_filter.n=", {"empty text"}),
        ("metadata_filter.n=two%20words", {"words"}),
        ("metadata_filter.n=two+words", {"words"}),
        ("metadata_filter.n=" + "l" * 2000, {"long"}),
        ("metadata_filter.n=" + "l" * 1999, set()),
        ("metadata_filter.cl%C3%A9%20%C3%A9=%C3%BC", {"words"}),
        ("metadata_filter.n=%ff", set()),
        ("metadata_filter.n=%00", set()),
        # Great integers are not confused with their neighbours.
        ("metadata_filter.n=9007199254740992", {"greatest"}),
        ("metadata_filter.n=9007199254740993", set()),
        ("metadata_filter.n=9007199254740991", set()),
        ("metadata_filter.n=-9007199254740992", {"least"}),
        ("metadata_filter.n=-9007199254740993", set()),
        ("metadata_filter.n=9007199254740992.0", {"greatest"}),
        (f"metadata_filter.n={2**60}", {"beyond"}),
        (f"metadata_filter.n={2**60 + 1}", set()),
        ("metadata_filter.n=9223372036854775808", set()),
        ("metadata_filter.n=" + "9" * 400, set()),
        (f"metadata_filter.n={DIGITS}{DIGITS}", set()),
        ("metadata_filter.n=1e999", set()),
        # A key is all behind the first dot, as it stands.
        ("metadata_filter.a.b=1", {"dots"}),
        ("metadata_filter.a%2Eb=1", {"dots"}),
        ("metadata_filter%2Ea.b=1", {"dots"}),
        ("metadata_filter.%24where=1%20%3D%3D%201", {"dollar"}),
        ("metadata_filter.$ne=5", {"dollar"}),
        ("metadata_filter.$ne=6", set()),
        ("metadata_filter.$gt=0", set()),
        ("metadata_filter.n.$gt=0", set()),
        ("metadata_filter.$or=1", set()),
        ("metadata_filter.n%00=1", set()),
        ("metadata_filter.%00=1", set()),
        ("metadata_filter.%ff=1", set()),
        ("metadata_filter.=x", {"empty key"}),
        ("metadata_filter.=y", set()),
        ("metadata_filter.N=1", set()),
        ("metadata_filter.absent=1", set()),
        # Of a repeated key the last value wins; all keys must match.
        ("metadata_filter.n=7&metadata_filter.n=1", ONES),
        ("metadata_filter.n=1&metadata_filter.n=7", set()),
        ("metadata_filter.n=1&metadata_filter.x=y", {"one as a double"}),
        ("metadata_filter.x=y", {"one as a double", "other"}),
        ("metadata_filter.x=y&metadata_filter.n=2", {"other"}),
        # The form of a JSON object.
        ('metadata_filter={"n":1}', ONES),
        ('metadata_filter={"n":1.0}', ONES),
        ('metadata_filter={"n":"1"}', {"text of one"}),
        ('metadata_filter={"n":true}', {"true"}),
        ('metadata_filter={"n":"true"}', {"text true"}),
        ('metadata_filter={"n":null}', {"null"}),
        ('metadata_filter={"n":[1]}', {"list"}),
        ('metadata_filter={"n":[1.0]}', {"list"}),
        ('metadata_filter={"n":[2,1]}', set()),
        ('metadata_filter={"n":{"a":[1],"gt":1}}', {"object"}),
        ('metadata_filter={"n":{"gt":1}}', set()),
        ('metadata_filter={"n":{"$gt":0}}', {"operator"}),
        ('metadata_filter={"n":{"$ne":null}}', set()),
        ('metadata_filter={"$or":[{"n":1}]}', set()),
        ('metadata_filter={"a.b":1}', {"dots"}),
        ('metadata_filter={"a":{"b":1}}', {"nested"}),
        ('metadata_filter={"":"x"}', {"empty key"}),
        (r'metadata_filter={"n":"\u0000"}', set()),
        (r'metadata_filter={"\u0000":1}', set()),
        (r'metadata_filter={"n":"\ud800"}', set()),
        ('metadata_filter={"n":9007199254740993}', set()),
        ('metadata_filter={"n":' + "[" * 40 + "]" * 40 + "}", set()),
        ('metadata_filter={"n":1e999}', set()),
        # What the real server ignores, and what is no object.
        ("metadata_filter={}", set(METADATA)),
        ("metadata_filter=", set(METADATA)),
        ("metadata_filter=%ff", set(METADATA)),
        ("metadata_filter={n:1}", set(METADATA)),
        ("metadata_filter=[1]", set(METADATA)),
        ("metadata_filter=null", set(METADATA)),
        ("metadata_filter=" + "[" * 20_000, set(METADATA)),
        ("metadata_filter[n]=1", set(METADATA)),
        ("metadata_filter%5Bn%5D=1", set(METADATA)),
        ("Metadata_filter.n=1", set(METADATA)),
        ("metadata_filter_n=1", set(METADATA)),
        ("metadata_filters.n=1", set(METADATA)),
    ],
)
def test_a_metadata_filter_compares_values_and_nothing_else(
    service: Stack, query: str, expected: set[str]
) -> None:
    path = "/sessions?" + quote(query, safe="=&%$+.[]")
    assert set(situations(get(service, path, tenant="meta"))) == expected


def test_a_filtered_list_is_cut_and_sorted_like_any(service: Stack) -> None:
    def found(query: str) -> list[str]:
        return situations(get(service, f"/sessions?metadata_filter.x=y{query}", tenant="meta"))

    assert len(found("")) == 2
    assert found("&limit=1") + found("&limit=1&offset=1") == found("")
    assert found("&direction=asc&sort_by=updated_at") == found("&direction=desc&sort_by=updated_at")[::-1]
    assert found("&offset=2") == found("&limit=0") == []


def test_a_session_has_every_key_with_null_where_there_is_no_value(service: Stack) -> None:
    items = get(service, "/sessions?limit=1&direction=asc", tenant="acme").json()["items"]
    assert items == [SESSIONS[6]]


# Section 3: robots, their sessions and messages

TEAM = 45
ROBOT_SESSIONS = [
    # Three share each time, so that every page ends among equals.
    robot_session(
        id=xid(number),
        createdAt=moment(number // 3),
        created_by=account(2 if number < 5 else 1),
        **({"deletedAt": moment(9)} if number % 4 == 0 else {}),
        **({"misc": {}} if number % 5 == 0 else {}),
    )
    for number in range(TEAM)
]
MESSAGES = [message(id=xid(number), created_at=moment(number // 3)) for number in range(120)]
FULL_MESSAGE = message(
    id=xid(900),
    role="assistant",
    metadata={"tokens": 3},
    robot={"id": "r", "name": "R"},
    author=account(),
    created_at=moment(90),
)
ROBOT_COUNT = 51
ROBOT_LINES = [
    *(
        line("robot_session", {**body, "messages": MESSAGES} if body["id"] == xid(1) else body)
        for body in ROBOT_SESSIONS[:-1]
    ),
    line("robot_session", {**ROBOT_SESSIONS[-1], "messages": [FULL_MESSAGE]}),
    *(
        line("robot", robot(id=xid(number), createdAt=moment(number // 4), tools=["t"] * (number % 2)))
        for number in range(ROBOT_COUNT)
    ),
]


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize(
    ("name", "size", "total"),
    [("sessions", 20, TEAM), ("robots", 50, ROBOT_COUNT)],
    ids=["sessions", "robots"],
)
def test_numbered_pages_hold_everything_once_newest_first(
    service: Stack, prefix: str, name: str, size: int, total: int
) -> None:
    path = f"{prefix}/robots/sessions" if name == "sessions" else f"{prefix}/robots"
    pages = -(-total // size)
    found: list[Any] = []
    for page in range(1, pages + 1):
        answer = get(service, f"{path}?page={page}").json()
        items = answer.pop(name)
        follows = {"next_page": page + 1} if page < pages else {}
        assert answer == {
            "page_size": size,
            "results": len(items),
            "total_pages": pages,
            "current_page": page,
            **follows,
        }
        assert len(items) == min(size, total - len(found))
        found += items
    times = [item["createdAt"] for item in found]
    assert times == sorted(times, reverse=True)
    assert {item["id"] for item in found} == {xid(number) for number in range(total)}


@pytest.mark.parametrize("path", ["/robots/sessions", "/robots", "/api/robots/sessions", "/api/robots"])
@pytest.mark.parametrize(
    ("page", "current"),
    [
        ("", 1),
        ("0", 1),
        ("-1", 1),
        ("-99999999999999999999999", 1),
        ("abc", 1),
        ("1.0", 1),
        ("2.5", 1),
        ("2e0", 1),
        ("0x2", 1),
        ("2%20", 1),
        ("%D9%A2", 1),
        ("%ff", 1),
        ("2%00", 1),
        ("4294967297", 1),
        ("9223372036854775808", 1),
        ("99999999999999999999999", 1),
        (DIGITS, 1),
        ("1&page=2", 2),
        ("2", 2),
        ("99999", 99999),
        ("4294967296", 4294967296),
    ],
)
def test_a_page_number_is_clamped_and_never_an_error(
    service: Stack, path: str, page: str, current: int
) -> None:
    name = path.rpartition("/")[2]
    size, total = (20, TEAM) if name == "sessions" else (50, ROBOT_COUNT)
    answer = get(service, f"{path}?page={page}").json()
    items = answer.pop(name)
    assert len(items) == max(0, min(size, total - (current - 1) * size)) == answer.pop("results")
    pages = -(-total // size)
    follows = {"next_page": current + 1} if current < pages else {}
    assert answer == {"page_size": size, "total_pages": pages, "current_page": current, **follows}


def test_a_robot_session_comes_back_as_it_was_written_deleted_or_not(service: Stack) -> None:
    listed = [
        item
        for page in (1, 2, 3)
        for item in get(service, f"/robots/sessions?page={page}").json()["sessions"]
    ]
    assert {item["id"]: item for item in listed} == {body["id"]: body for body in ROBOT_SESSIONS}


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_an_account_s_sessions_are_counted_and_paged_alone(service: Stack, prefix: str) -> None:
    answer = get(service, f"{prefix}/robots/sessions?account_id={xid(2)}").json()
    assert {item["id"] for item in answer.pop("sessions")} == {xid(number) for number in range(5)}
    assert answer == {"page_size": 20, "results": 5, "total_pages": 1, "current_page": 1}
    answer = get(service, f"{prefix}/robots/sessions?account_id={xid(1)}&page=2").json()
    assert len(answer.pop("sessions")) == 20
    assert answer == {"page_size": 20, "results": 20, "total_pages": 2, "current_page": 2}


@pytest.mark.parametrize(("query", "page"), [("", 1), ("&page=7", 7), ("&page=0", 1)])
def test_an_unknown_account_has_an_empty_page(service: Stack, query: str, page: int) -> None:
    expect(
        get(service, f"/robots/sessions?account_id={'v' * 20}{query}"),
        200,
        {"page_size": 20, "results": 0, "total_pages": 0, "current_page": page, "sessions": []},
    )


@pytest.mark.parametrize(
    "account_id",
    [
        "",
        "abc",
        "0" * 19,
        "0" * 21,
        "w" * 20,
        "A" * 20,
        xid(2) + "%0A",
        "%ff" * 20,
        "%00" * 20,
        "%D9%A3" * 20,
        "a" * 3000,
        "%F0%9F%99%82%22%5C",
    ],
)
@pytest.mark.parametrize("prefix", ["", "/api"])
def test_a_malformed_account_is_refused(service: Stack, prefix: str, account_id: str) -> None:
    response = get(service, f"{prefix}/robots/sessions?account_id={account_id}")
    expect_problem(response, 400, "invalid-argument")
    assert len(response.content) < 8000


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_a_robot_is_found_by_its_id(service: Stack, prefix: str) -> None:
    expect(get(service, f"{prefix}/robots/{xid(7)}"), 200, robot(id=xid(7), createdAt=moment(1), tools=["t"]))


UNKNOWN_IDS = (
    "nope",
    "v" * 20,
    "%ff",
    "%ff%fe",
    "%01",
    "%2e%2e%2fsessions",
    "a%2Fb",
    "%F0%9F%99%82",
    "x" * 9000,
)


@pytest.mark.parametrize("path", ["/robots/", "/robots/sessions/", "/api/robots/", "/api/robots/sessions/"])
@pytest.mark.parametrize("unknown", UNKNOWN_IDS)
def test_an_unknown_id_is_not_found_in_storyden_s_words(service: Stack, path: str, unknown: str) -> None:
    expect_problem(get(service, path + unknown), 404, "not-found")


@pytest.mark.parametrize("path", ["/robots/", "/api/robots/sessions/", "/session/", "/sessions/", "/api/v2/"])
def test_nul_in_a_path_is_refused_by_the_http_parser(service: Stack, path: str) -> None:
    refused = {"error": {"message": "Bad request", "type": "BAD_REQUEST", "status": 400}}
    expect(get(service, f"{path}%00"), 400, refused)


def test_the_path_of_sessions_is_no_robot(service: Stack) -> None:
    assert "sessions" in get(service, "/robots/sessions").json()


def message_list(service: Stack, query: str = "", session_id: str = xid(1)) -> dict[str, Any]:
    answer = get(service, f"/robots/sessions/{session_id}?{query}")
    assert answer.status_code == 200, answer.text
    found = answer.json().pop("message_list")
    assert found["results"] == len(found["messages"])
    return dict(found)


@pytest.mark.parametrize(
    ("query", "size"),
    [
        ("", 50),
        ("limit=7", 7),
        ("limit=1", 1),
        ("limit=100", 100),
        ("limit=0", 1),
        ("limit=-1", 1),
        ("limit=-100", 1),
        ("limit=101", 100),
        ("limit=4294967297", 100),
        ("limit=", 50),
        ("limit=abc", 50),
        ("limit=7.0", 50),
        ("limit=%ff", 50),
        ("limit=%D9%A3", 50),
        ("limit=7%00", 50),
        ("limit=7%20", 50),
        ("Limit=7", 50),
        ("limit=9&limit=7", 7),
    ],
)
def test_a_message_limit_is_clamped_or_its_default(service: Stack, query: str, size: int) -> None:
    page = message_list(service, query)
    assert page["page_size"] == size
    assert page["messages"] == MESSAGES[-size:]
    assert page["next_before"] == MESSAGES[-size]["id"]


@pytest.mark.parametrize("limit", [1, 7, 40, 100])
def test_messages_are_walked_back_without_repeat_or_gap(service: Stack, limit: int) -> None:
    page = message_list(service, f"limit={limit}")
    found = page["messages"]
    while "next_before" in page:
        assert page["next_before"] == found[0]["id"]
        page = message_list(service, f"limit={limit}&before={page['next_before']}")
        assert page["messages"]
        found = page["messages"] + found
    assert found == MESSAGES


def test_a_session_is_printed_with_its_messages(service: Stack) -> None:
    expect(
        get(service, f"/api/robots/sessions/{xid(TEAM - 1)}"),
        200,
        {
            **ROBOT_SESSIONS[-1],
            "message_list": {"page_size": 50, "results": 1, "messages": [FULL_MESSAGE]},
        },
    )
    empty = {"page_size": 3, "results": 0, "messages": []}
    assert message_list(service, "limit=3", xid(2)) == empty
    assert message_list(service, f"limit=3&before={xid(0)}") == empty


@pytest.mark.parametrize(
    "before", ["nope", "", xid(900), "v" * 20, "%ff", "%00", "%24gt", "a" * 9000, f"{xid(5)}&before=nope"]
)
def test_a_message_that_the_session_has_not_is_refused_as_before(service: Stack, before: str) -> None:
    for limit in ("", "&limit=abc"):
        response = get(service, f"/robots/sessions/{xid(1)}?before={before}{limit}")
        expect_problem(response, 400, "invalid-argument")


def test_an_unknown_session_is_not_found_before_its_parameters_are_judged(service: Stack) -> None:
    expect_problem(get(service, f"/robots/sessions/{'v' * 20}?before=nope"), 404, "not-found")


# Section 4: agent session

HIDDEN_AGENTS = ("gone", "closed", "theirs")
VISIBLE_AGENTS = ("open", "ada", "support")


def _agent_sessions() -> list[tuple[Body, bool]]:
    """Return sessions, and whether ada sees each: every third, but none at the start and the end.

    Seven in a row share a time; they are not written in the order of their rids.
    """
    sessions = []
    for number in range(60):
        visible = number % 3 == 1
        agent = (VISIBLE_AGENTS if visible else HIDDEN_AGENTS)[number // 3 % 3]
        name, updated = f"{number * 37 % 61:02}", moment(number // 7)
        sessions.append((agent_session(name, agent, updated), visible))
        sessions.append((agent_session(f"{name}-expired", "open", updated, "2026-01-03T00:00:00Z"), False))
    return sessions


def _by_time_then_rid(sessions: Iterable[Body]) -> list[Body]:
    by_rid = sorted(sessions, key=itemgetter("rid"))
    return sorted(by_rid, key=lambda body: str(body["metadata"]["updatedTime"]), reverse=True)


AGENT_SESSIONS = _agent_sessions()
VISIBLE = _by_time_then_rid(body for body, visible in AGENT_SESSIONS if visible)
AGENT_LINES = [
    agent_line("open", "*"),
    agent_line("ada", "user:ada", "user:bob"),
    agent_line("support", "group:support"),
    agent_line("closed"),
    agent_line("theirs", "user:eve", "group:other", "user:support", "group:ada"),
    *(line("agent_session", body, user_id="ada", client_id="console") for body, _ in AGENT_SESSIONS),
    *(
        line("agent_session", agent_session(f"bob-{number:03}", "ada"), user_id="bob", client_id="console")
        for number in range(205)
    ),
]


def agent_page(service: Stack, query: str = "", sub: str = "ada") -> tuple[list[str], str | None]:
    """Return the rids of a page, and its token."""
    response = get(service, FOUNDRY + query, sub)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == JSON
    page = response.json()
    token = page.pop("nextPageToken", None)
    assert page.keys() == {"data"}
    assert token is None or (page["data"] and token.startswith("v1.") and not token.endswith("="))
    return [entry["rid"] for entry in page["data"]], token


def walk(service: Stack, sizes: Sequence[int]) -> Iterator[list[str]]:
    """Yield all pages; their sizes take turns."""
    token, turn = None, 0
    while turn == 0 or token is not None:
        query = f"&pageSize={sizes[turn % len(sizes)]}" + (f"&pageToken={token}" if token else "")
        page, token = agent_page(service, query)
        yield page
        turn += 1


@pytest.mark.parametrize("sizes", [(1,), (2,), (7,), (19,), (20,), (21,), (100,), (3, 1, 5)])
def test_agent_sessions_are_paged_without_repeat_gap_or_empty_page(
    service: Stack, sizes: tuple[int, ...]
) -> None:
    pages = list(walk(service, sizes))
    assert [rid for page in pages for rid in page] == [body["rid"] for body in VISIBLE]
    full = pages[:-1]
    assert [len(page) for page in full] == [sizes[turn % len(sizes)] for turn in range(len(full))]
    assert pages[-1]


def test_an_agent_session_comes_back_as_it_was_written(service: Stack) -> None:
    expect(get(service, FOUNDRY), 200, {"data": VISIBLE})


def test_a_caller_without_agent_sessions_gets_empty_data(service: Stack) -> None:
    expect(get(service, FOUNDRY, "nobody"), 200, {"data": []})


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 100),
        ("&pageSize=100", 100),
        ("&pageSize=101", 100),
        ("&pageSize=99999", 100),
        ("&pageSize=204", 100),
        ("&pageSize=1&pageSize=100&preview=true", 100),
        ("&pageSize=99", 99),
        ("&pageSize=1", 1),
        ("&pagesize=1&PageSize=abc&%ff=%ff", 100),
    ],
)
def test_an_agent_page_has_at_most_a_hundred(service: Stack, query: str, count: int) -> None:
    rids, token = agent_page(service, query, "bob")
    assert rids == [session_rid(f"bob-{number:03}") for number in range(count)]
    assert token is not None


INVALID = (400, "INVALID_ARGUMENT")
PREVIEW: tuple[Any, ...] = (*INVALID, "ApiFeaturePreviewUsageOnly", {})
UNPARSED: tuple[Any, ...] = (*INVALID, "Conjure:InvalidArgument", {})


def bad_size(size: int) -> tuple[Any, ...]:
    return (*INVALID, "InvalidPageSize", {"pageSize": size})


def bad_token(token: str) -> tuple[Any, ...]:
    return (*INVALID, "InvalidPageToken", {"pageToken": token})


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("", PREVIEW),
        ("preview=false", PREVIEW),
        ("Preview=true", PREVIEW),
        ("pageSize=abc&pageToken=x", PREVIEW),
        ("preview=false&pageSize=0&pageToken=", PREVIEW),
        ("preview=", UNPARSED),
        ("preview=TRUE", UNPARSED),
        ("preview=1", UNPARSED),
        ("preview=true%20", UNPARSED),
        ("preview=%ff", UNPARSED),
        ("preview=yes&pageSize=0", UNPARSED),
        ("preview=true&pageSize=0", bad_size(0)),
        ("preview=true&pageSize=-1", bad_size(-1)),
        ("preview=true&pageSize=-2147483648", bad_size(-2147483648)),
        ("preview=true&pageSize=-0", bad_size(0)),
        ("preview=true&pageSize=0&pageToken=x", bad_size(0)),
        ("preview=true&pageSize=abc", UNPARSED),
        ("preview=true&pageSize=", UNPARSED),
        ("preview=true&pageSize=1.0", UNPARSED),
        ("preview=true&pageSize=1e1", UNPARSED),
        ("preview=true&pageSize=%201", UNPARSED),
        ("preview=true&pageSize=%D9%A3", UNPARSED),
        ("preview=true&pageSize=%ff", UNPARSED),
        ("preview=true&pageSize=1%00", UNPARSED),
        ("preview=true&pageSize=abc&pageToken=x", UNPARSED),
        ("preview=true&pageToken=", bad_token("")),
        ("preview=true&pageToken=x", bad_token("x")),
        ("preview=true&pageToken=v1.", bad_token("v1.")),
        ("preview=true&pageToken=v1.AAAA", bad_token("v1.AAAA")),
        ("preview=true&pageToken=%ff", bad_token("\ufffd")),
        ("preview=true&pageToken=%00", bad_token("\0")),
        ("preview=true&pageToken=%E2%80%99%22%5C", bad_token('\u2019"\\')),
        ("preview=true&pageToken=v1." + "A" * 60_000, bad_token("v1." + "A" * 997)),
        ("preview=true&pageToken=" + "%C3%A9" * 2000, bad_token("\u00e9" * 1000)),
    ],
)
def test_a_bad_agent_parameter_is_refused_in_foundry_s_words_and_order(
    service: Stack, query: str, error: tuple[Any, ...]
) -> None:
    assert foundry_error(get(service, f"/api/v2/aipAgents/agents/allSessions?{query}")) == error


@pytest.mark.parametrize("digits", [DIGITS, f"-{DIGITS}", DIGITS[:500], f"-{DIGITS[:500]}"])
def test_a_page_size_of_thousands_of_digits_is_judged_like_any(service: Stack, digits: str) -> None:
    response = get(service, f"{FOUNDRY}&pageSize={digits}")
    if response.status_code != 200:
        assert foundry_error(response)[:2] == INVALID


# All sections


@pytest.mark.parametrize("path", ALL_PATHS)
def test_a_query_of_64_kb_is_not_an_error(service: Stack, path: str) -> None:
    plain = get(service, path)
    stuffed = get(service, f"{path}{'&' if '?' in path else '?'}{KILOBYTES_64}")
    assert (stuffed.status_code, stuffed.json()) == (plain.status_code, plain.json()) == (200, plain.json())


@pytest.mark.parametrize("path", ALL_PATHS)
def test_unknown_parameters_are_ignored_whatever_their_bytes(service: Stack, path: str) -> None:
    plain = get(service, path)
    query = "unknown=1&%ff=%ff&%00=%00&=&&===&a.b=1&a[b]=1&__proto__=1&id=x&%24where=1&q=%F0%9F%99%82"
    stuffed = get(service, f"{path}{'&' if '?' in path else '?'}{query}")
    assert (stuffed.status_code, stuffed.json()) == (200, plain.json())


@pytest.mark.parametrize(
    "path",
    [
        "/session?x=1",
        "/sessions?limit=abc",
        "/api/sessions?limit=-1",
        "/robots/sessions?account_id=x",
        "/robots/nope",
        "/robots/sessions/nope?before=x",
        "/api/v2/aipAgents/agents/allSessions?pageSize=x",
    ],
)
def test_credentials_are_judged_before_parameters_and_ids(service: Stack, path: str) -> None:
    for token in (None, "bad"):
        assert service.get(path, token).status_code == (403 if "/sessions?limit" in path else 401)


@pytest.mark.parametrize(
    "path",
    ["/robots/sessions?account_id=x", "/robots/nope", "/robots/sessions/nope", "/robots", "/api/robots"],
)
def test_permissions_are_judged_before_parameters_and_ids(service: Stack, path: str) -> None:
    expect_problem(service.get(path, service.token("ada", scopes=[SCOPE])), 403, "permission-denied")


def test_the_scope_is_judged_before_parameters(service: Stack) -> None:
    response = service.get("/api/v2/aipAgents/agents/allSessions?pageSize=0", service.token("ada"))
    assert foundry_error(response) == (403, "PERMISSION_DENIED", "GetAllSessionsAgentsPermissionDenied", {})


ROUTE_NOT_FOUND = {"error": {"message": "Route not found", "type": "NOT_FOUND", "status": 404}}
METHODS = ("POST", "PUT", "PATCH", "DELETE")


@pytest.mark.parametrize("authorized", [True, False])
def test_an_unknown_path_is_answered_in_the_words_of_its_system(service: Stack, authorized: bool) -> None:
    token = anybody(service) if authorized else None
    for path in (
        "/nope",
        "/session/x",
        "/Session",
        "/api",
        "/api/session",
        "/robotsx",
        "/sessionsx",
        "/%ff",
    ):
        expect(service.get(path, token), 404, ROUTE_NOT_FOUND)
    for path in ("/sessions/x", "/api/sessions/x", "/sessions/a/b"):
        expect(service.get(path, token), 404, {"detail": "Not Found"})
    for path in ("/robots/a/b", "/api/robots/a/b", "/robots/sessions/a/b"):
        expect_problem(service.get(path, token), 404, "not-found")
    for path in ("/api/v2/", "/api/v2/x", "/api/v2/aipAgents/agents", "/api/v2/aipAgents/agents/allsessions"):
        assert foundry_error(service.get(path, token)) == (404, "NOT_FOUND", "Default:NotFound", {})


@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_is_not_served_is_answered_in_the_words_of_its_system(
    service: Stack, method: str
) -> None:
    def call(path: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {anybody(service)}"}
        return httpx.request(method, service.rest + path, headers=headers, verify=PLAIN)

    expect(call("/session"), 404, ROUTE_NOT_FOUND)
    expect(call("/sessions"), 405, {"detail": "Method Not Allowed"})
    expect(call("/api/sessions"), 405, {"detail": "Method Not Allowed"})
    for path in ("/robots", f"/robots/{xid(1)}", "/robots/sessions", f"/api/robots/sessions/{xid(1)}"):
        expect_problem(call(path), 404, "not-found")
    assert foundry_error(call(FOUNDRY)) == (404, "NOT_FOUND", "Default:NotFound", {})


def test_head_answers_without_a_body(service: Stack) -> None:
    with httpx.Client(headers={"authorization": f"Bearer {anybody(service)}"}) as client:
        for path in ALL_PATHS:
            assert client.head(service.rest + path).content == b""
            assert json.loads(client.get(service.rest + path).content)
