"""Where a request ends is never in doubt: what two parsers could read as one request or as two is refused."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.edge.calls import Calls
from tests.edge.proxies import Edge
from tests.edge.wire import Exchange, exchange

HIDDEN = "GET /robots HTTP/1.1\r\nHost: a\r\nAuthorization: {credentials}\r\n\r\n"
"""A request that hides in what follows another, and is answered if it is taken for one."""
LENGTH, CHUNKED = "Content-Length: {length}\r\n", "Transfer-Encoding: chunked\r\n"
START = "GET /session HTTP/1.1\r\nHost: a\r\nAuthorization: {credentials}\r\n"
END = "0\r\n\r\n"

BAD = {"error": {"message": "Bad request", "type": "BAD_REQUEST", "status": 400}}
UNKNOWN_CODING = {"error": {"message": "Internal server error", "type": "SERVER_ERROR", "status": 501}}
TOO_OLD = {"error": {"message": "Upgrade required", "type": "BAD_REQUEST", "status": 426}}
NO_TUNNEL = {"error": {"message": "Forbidden", "type": "FORBIDDEN", "status": 403}}

REFUSED = {
    # Two ways to say where the body ends.
    "CL.TE": (400, START + LENGTH + CHUNKED + "\r\n" + END + HIDDEN),
    "TE.CL": (400, START + CHUNKED + "Content-Length: 4\r\n\r\n{length_hex}\r\n" + HIDDEN + "\r\n" + END),
    "length twice, unlike": (400, START + "Content-Length: 0\r\n" + LENGTH + "\r\n" + HIDDEN),
    "length twice, alike": (400, START + LENGTH + LENGTH + "\r\n" + HIDDEN),
    "list of lengths": (400, START + "Content-Length: 0, {length}\r\n\r\n" + HIDDEN),
    "codings twice": (501, START + CHUNKED + "Transfer-Encoding: identity\r\n\r\n" + END + HIDDEN),
    # A length that is not digits.
    "signed length": (400, START + "Content-Length: +{length}\r\n\r\n" + HIDDEN),
    "negative length": (400, START + "Content-Length: -1\r\n\r\n" + HIDDEN),
    "length in hexadecimal": (400, START + "Content-Length: 0x{length_hex}\r\n\r\n" + HIDDEN),
    "length over 64 bits": (400, START + "Content-Length: 99999999999999999999\r\n\r\n" + HIDDEN),
    "empty length": (400, START + "Content-Length: \r\n\r\n" + HIDDEN),
    # A header that another parser might not see as this one.
    "space before the colon of a coding": (400, START + "Transfer-Encoding : chunked\r\n\r\n" + END + HIDDEN),
    "space before the colon of a length": (400, START + "Content-Length : {length}\r\n\r\n" + HIDDEN),
    "first header folded": (400, "GET /session HTTP/1.1\r\n X-A: b\r\nHost: a\r\n\r\n" + HIDDEN),
    "header without a colon": (400, START + "Transfer-Encoding\r\n\r\n" + END + HIDDEN),
    "header without a name": (400, START + ": chunked\r\n\r\n" + END + HIDDEN),
    "pseudo-header": (400, START + ":path: /robots\r\n\r\n" + HIDDEN),
    "NUL in a name": (400, START + "Transfer-Encoding\0: chunked\r\n\r\n" + END + HIDDEN),
    "byte over 127 in a name": (400, START + "Transfer-Encoding\xff: chunked\r\n\r\n" + END + HIDDEN),
    # A coding that nobody knows.
    "xchunked": (501, START + "Transfer-Encoding: xchunked\r\n\r\n" + END + HIDDEN),
    "chunked, identity": (501, START + "Transfer-Encoding: chunked, identity\r\n\r\n" + END + HIDDEN),
    "gzip, chunked": (501, START + "Transfer-Encoding: gzip, chunked\r\n\r\n" + END + HIDDEN),
    "identity": (501, START + "Transfer-Encoding: identity\r\n\r\n" + HIDDEN),
    # Chunks that do not add up.
    "chunk extension with a bare LF": (
        400,
        START + CHUNKED + "\r\n2;\nxx\r\n{length_hex}\r\n" + END + HIDDEN,
    ),
    "chunk size in letters": (400, START + CHUNKED + "\r\nzz\r\n" + HIDDEN),
    "chunk size with 0x": (400, START + CHUNKED + "\r\n0x5\r\nhello\r\n" + END + HIDDEN),
    "chunk size over 64 bits": (400, START + CHUNKED + "\r\n10000000000000000\r\n" + HIDDEN),
    "negative chunk size": (400, START + CHUNKED + "\r\n-1\r\n" + HIDDEN),
    "chunk longer than its size": (400, START + CHUNKED + "\r\n1\r\nXX\r\n" + END + HIDDEN),
    # Whose request is this?
    "no host": (400, "GET /session HTTP/1.1\r\nAuthorization: {credentials}\r\n\r\n"),
    "two hosts": (400, START + "Host: b\r\n\r\n"),
    "list of hosts": (400, "GET /session HTTP/1.1\r\nHost: a, b\r\nAuthorization: {credentials}\r\n\r\n"),
    "host with a path": (400, "GET /session HTTP/1.1\r\nHost: a/b c\r\nAuthorization: {credentials}\r\n\r\n"),
    "CONNECT": (403, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n" + HIDDEN),
    "host and port for a path": (400, "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN),
    "URI that is not HTTP's": (400, "GET ftp://a/session HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN),
    # The request line, and the version.
    "HTTP/1.0": (426, "GET /session HTTP/1.0\r\nAuthorization: {credentials}\r\n\r\n"),
    "HTTP/1.0 with chunks": (426, "GET /session HTTP/1.0\r\nHost: a\r\n" + CHUNKED + "\r\n" + END + HIDDEN),
    "HTTP/2.0 in words": (426, "GET /session HTTP/2.0\r\nHost: a\r\n\r\n" + HIDDEN),
    "HTTP/1.01": (400, "GET /session HTTP/1.01\r\nHost: a\r\n\r\n" + HIDDEN),
    "space before the method": (400, " " + START + "\r\n"),
    "space in the path": (400, "GET /session /robots HTTP/1.1\r\nHost: a\r\n\r\n"),
    "method in lower case": (400, "get /session HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN),
    "method that is none": (400, "GETS /session HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN),
}
BODIES = {200: [], 400: BAD, 403: NO_TUNNEL, 426: TOO_OLD, 501: UNKNOWN_CODING}

ONE = {
    # Everybody reads these as one request. Those with a body are refused, as no documented path takes one.
    "body of its length": (400, START + LENGTH + "\r\n" + HIDDEN),
    "body in chunks": (400, START + CHUNKED + "\r\n{length_hex}\r\n" + HIDDEN + "\r\n" + END),
    "coding in capitals": (400, START + CHUNKED.upper() + "\r\n{length_hex}\r\n" + HIDDEN + "\r\n" + END),
    "chunk extension": (400, START + CHUNKED + "\r\n{length_hex};a=b\r\n" + HIDDEN + "\r\n0;c\r\n\r\n"),
    "no body, in chunks": (200, START + "Transfer-Encoding:\tchunked\r\n\r\n" + END),
    "trailers": (200, START + CHUNKED + "\r\n0\r\nContent-Length: 5\r\nHost: b\r\n\r\n"),
    "folded header": (200, START + "X-A: b\r\n\tContent-Length: 5\r\n\r\n"),
    "CR in a value": (200, START + "X-A: b\rContent-Length: 5\r\n\r\n"),
    "lines that end in LF": (200, START.replace("\r", "") + "\n"),
    "empty lines before": (200, "\r\n\r\n" + START + "\r\n"),
    "URI with a host": (200, START.replace("/session", "http://b.example/session") + "\r\n"),
    "offer of HTTP/2": (
        200,
        START + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    ),
    "unknown expectation": (200, START + "Expect: 200-ok\r\n\r\n"),
}


def filled(text: str, edge: Edge) -> str:
    _, credentials = edge.authorization()
    hidden = HIDDEN.replace("{credentials}", credentials)
    for key, value in {
        "credentials": credentials,
        "length": str(len(hidden)),
        "length_hex": f"{len(hidden):x}",
    }.items():
        text = text.replace(f"{{{key}}}", value)
    return text


Results = dict[str, Exchange]


@pytest.fixture(scope="module")
def results(edge: Edge) -> tuple[Results, list[str]]:
    """What each request came to, and what the server saw of all of them."""
    requests = {name: text for name, (_, text) in (REFUSED | ONE).items()}
    calls = Calls(edge)
    with ThreadPoolExecutor(16) as pool:
        ended = pool.map(lambda text: exchange(edge.port, filled(text, edge)), requests.values())
        found = dict(zip(requests, ended, strict=True))
    return found, calls.so_far()


@pytest.mark.parametrize("name", REFUSED)
def test_a_doubtful_request_is_refused_in_one_answer_and_the_connection_ends(
    results: tuple[Results, list[str]], name: str
) -> None:
    status, _ = REFUSED[name]
    ended = results[0][name]
    assert (ended.answer.status, ended.answer.json()) == (status, BODIES[status])
    assert ended.closed


@pytest.mark.parametrize("name", ONE)
def test_a_request_has_one_answer(results: tuple[Results, list[str]], name: str) -> None:
    status, _ = ONE[name]
    answer = results[0][name].answer
    assert (answer.status, answer.json()) == (status, BODIES[status])


def test_the_server_sees_no_hidden_request(results: tuple[Results, list[str]]) -> None:
    assert results[1] == ["ListUserSessions"] * [status for status, _ in ONE.values()].count(200)
