"""No credential gets into a log, whatever is sent where, and however much is logged."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from rollcall.v1 import session_pb2, session_pb2_grpc

from server.auth.api_keys import new_key
from server.commands.pulling.source import Access
from server.records.caller import Caller
from tests.parts import FOUNDRY, line, session
from tests.stack import Stack, running_stack
from tests.test_introspection import Issuer, issuer

__all__ = ["issuer"]

PATHS = ("/session", "/sessions", "/robots", FOUNDRY, "/v1/sessions", "/nowhere")


@pytest.fixture
def talkative(tmp_path: Path, issuer: Issuer) -> Iterator[Stack]:
    environment = {
        "ROLLCALL_LOG_LEVEL": "debug",
        "ROLLCALL_INTROSPECTION_URL": issuer.url,
        "ROLLCALL_INTROSPECTION_CLIENT_ID": "rollcall",
        "ROLLCALL_INTROSPECTION_SECRET": "secret-of-the-client",
    }
    with running_stack(tmp_path / "data", environment=environment) as stack:
        yield stack


def headers_of(credential: str) -> list[dict[str, str]]:
    return [
        {"authorization": f"Bearer {credential}"},
        {"authorization": credential},
        {"cookie": f"better-auth.session_token={credential}; storyden-session={credential}"},
    ]


def page_token_that_was_used(stack: Stack, token: str) -> str:
    """Follow a page token, whole and damaged; send it, and a token, also where they do not belong."""
    stack.load(*(line("session", session(), developer_id="ada") for _ in range(2)))
    page_token: str = stack.get("/v1/sessions?pageSize=1", token).json()["nextPageToken"]
    for used, status in ((page_token, 200), (page_token[:-1], 400)):
        assert stack.get(f"/v1/sessions?pageSize=1&pageToken={used}", token).status_code == status
    for path in PATHS:
        stack.get(f"{path}{'&' if '?' in path else '?'}access_token={token}&pageToken={page_token}")
    with grpc.insecure_channel(stack.grpc) as channel:
        request = session_pb2.ListSessionsRequest(page_size=1, page_token=page_token)
        session_pb2_grpc.SessionServiceStub(channel).ListSessions(
            request, metadata=(("authorization", token),)
        )
    return page_token


def test_no_credential_gets_into_a_log(talkative: Stack, issuer: Issuer) -> None:
    good = talkative.token("ada")
    key = talkative.command("key", "add", "--sub", "ada").stdout.decode().strip()
    sent = [good, good[:-4] + "AAAA", key, key[:-4] + "AAAA", f"opaque-{secrets.token_hex(16)}"]
    for credential in sent:
        for path in PATHS:
            for headers in headers_of(credential):
                assert talkative.get(path, headers=headers).status_code in {200, 400, 401, 403, 404}
        with grpc.insecure_channel(talkative.grpc) as channel:
            call = session_pb2_grpc.SessionServiceStub(channel).ListSessions
            try:
                call(session_pb2.ListSessionsRequest(), metadata=(("authorization", credential),))
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED  # noqa: PT017 # some are good
    assert issuer.asked
    sent.append(page_token_that_was_used(talkative, good))

    logs = [*talkative.folder.glob("*.log"), talkative.folder.parent / f"{talkative.folder.name}.out"]
    text = "".join(log.read_text() for log in logs)
    assert "ListSessions" in text

    for credential in (*sent, "secret-of-the-client"):
        assert credential not in text
        assert credential[-24:] not in text


def test_no_credential_is_in_a_repr() -> None:
    key = new_key(Caller(sub="ada", tenant="acme"), None, None, [])
    access = Access("https://old.example", {"authorization": "Bearer sk-old"})
    assert key.key not in repr(key)
    assert "sk-old" not in repr(access)
