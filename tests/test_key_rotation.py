"""A running server whose issuer changes its keys: no restart, no forged token, and few questions."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from rollcall.v1 import session_pb2, session_pb2_grpc

from server.auth.jwks import REFETCH_FLOOR_SECONDS
from tests.faults.processes import Process, environment_of
from tests.faults.waiting import until
from tests.stack import ROLLCALL, Stack, free_port
from tests.test_auth import FOREIGN, Issuer, issuer, jwks, signed

__all__ = ["issuer"]

GRPC = grpc.StatusCode
PATIENCE_SECONDS = 60


@asynccontextmanager
async def serving(stack: Stack, folder: Path, keys: str) -> AsyncIterator[Any]:
    """Run `rollcall serve` with these keys; yield what makes a call with a token and returns its code."""
    port = free_port()
    settings = {
        "grpc_port": port,
        "mongodb_uri": stack.settings.mongodb_uri.get_secret_value(),
        "page_token_keys": "k" * 32,
        "workers": 1,
        "drain_seconds": 0,
        "jwks": keys,
    }
    process = Process("serve", [ROLLCALL, "serve"], folder, **environment_of(**settings))
    async with process.running(), grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = session_pb2_grpc.SessionServiceStub(channel)

        async def code(token: str) -> grpc.StatusCode:
            request, metadata = session_pb2.ListSessionsRequest(), (("authorization", f"Bearer {token}"),)
            try:
                await stub.ListSessions(request, metadata=metadata, timeout=30, wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return GRPC.OK

        yield code


async def test_keys_of_a_file_change_with_it_and_a_forged_token_never_holds(
    stack: Stack, tmp_path: Path
) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(jwks("RS256", "ES256", "EdDSA")))
    async with serving(stack, tmp_path, str(path)) as code:
        assert {await code(signed(algorithm)) for algorithm in ("RS256", "ES256", "EdDSA")} == {GRPC.OK}
        assert {name: await code(token) for name, token in FOREIGN.items()} == dict.fromkeys(
            FOREIGN, GRPC.UNAUTHENTICATED
        )
        path.write_text(json.dumps(jwks("EdDSA")))

        async def is_withdrawn() -> bool:
            return bool(await code(signed("RS256", sub="bo")) is GRPC.UNAUTHENTICATED)

        await until(is_withdrawn, PATIENCE_SECONDS)
        assert await code(signed("EdDSA", sub="bo")) is GRPC.OK


async def test_keys_of_a_url_are_asked_for_again_by_a_new_key_and_not_by_every_stranger(
    stack: Stack, tmp_path: Path, issuer: Issuer
) -> None:
    begun = time.monotonic()

    def asked_seldom() -> bool:
        """Whether the issuer was asked no more often than the floor allows."""
        return issuer.calls <= 1 + (time.monotonic() - begun) / REFETCH_FLOOR_SECONDS

    async with serving(stack, tmp_path, issuer.url) as code:
        assert await code(signed("RS256")) is GRPC.OK
        for number in range(50):
            assert await code(signed("RS256", kid=f"unknown {number}")) is GRPC.UNAUTHENTICATED
        assert asked_seldom()
        issuer.keys = jwks("ES256")

        async def is_known() -> bool:
            return bool(await code(signed("ES256")) is GRPC.OK)

        await until(is_known, PATIENCE_SECONDS, poll=1)
        assert await code(signed("RS256", sub="bo")) is GRPC.UNAUTHENTICATED
        assert asked_seldom()
