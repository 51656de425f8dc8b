"""Who takes part: rollcall, its peers and its limits, each running and ready to be asked."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from google.api import annotations_pb2

from bench.parts import (
    ROOT,
    BenchError,
    Part,
    Parts,
    free_port,
    is_open,
    settings_of,
    start_envoy,
    start_rollcall,
)
from server.embedded import mongod

REST, GRPC = "REST", "gRPC"
LIMIT, PEER, OURS, CONTROL = "limit", "peer", "rollcall", "control"
DATABASE = "bench"
PAGES = (20, 100)
NODE_PEERS = ROOT / "bench" / "peers" / "node"
_GOOGLEAPIS = Path(annotations_pb2.__file__).parent.parent.parent
"""Holds google/api/*.proto."""

FASTAPI_MODEL = "FastAPI, motor, response_model"
MOTOR, PYMONGO = "rollcall, motor", "rollcall, pymongo"
TWO_WORKERS = "rollcall, motor, two workers"
TWIN = "rollcall, motor, the same again"

_PEERS = (
    (FASTAPI_MODEL, REST, PEER, "fastapi_motor:app"),
    ("FastAPI, AsyncMongoClient, orjson", REST, PEER, "fastapi_orjson:app"),
    ("fastify, mongodb, response schema", REST, PEER, "rest.js"),
    ("limit: stored bytes over a bare Mongo socket", GRPC, LIMIT, "socket_limit"),
    ("AsyncMongoClient, one Response(items=[dict])", GRPC, PEER, "grpc_pymongo"),
    ("grpc.aio, motor, Message(**document)", GRPC, PEER, "grpc_motor"),
    ("grpc-js, mongodb", GRPC, PEER, "grpc.js"),
)


@dataclass(frozen=True, slots=True)
class Contestant:
    """One row of the table: a server that answers the list, and the parts that it runs in."""

    name: str
    protocol: str
    role: str
    port: int
    parts: Mapping[str, Part]
    pages: tuple[int, ...] = PAGES


def start_all(parts: Parts, mongo: Part, mongo_port: int, bodies: Path) -> list[Contestant]:
    """Start every server, one worker each, and return the rows in the table's order."""
    rows = [_rest_limit(parts, mongo_port, bodies)]
    rows += [_peer(parts, mongo, mongo_port, *peer) for peer in _PEERS]
    rows += _rollcall(parts, mongo, mongo_port, MOTOR, OURS)
    rows += _rollcall(parts, mongo, mongo_port, PYMONGO, OURS, "pymongo")
    rows += _rollcall(parts, mongo, mongo_port, TWIN, CONTROL)
    # Envoy's one connection goes to one worker: two of them show by gRPC alone.
    rows += [
        row
        for row in _rollcall(parts, mongo, mongo_port, TWO_WORKERS, OURS, workers=2)
        if row.protocol == GRPC
    ]
    return sorted(rows, key=lambda row: row.protocol != REST)


def _rest_limit(parts: Parts, mongo_port: int, bodies: Path) -> Contestant:
    settings, _ = settings_of(mongo_port, DATABASE)
    env = {"PORT": str(settings.grpc_port), "BODIES": str(bodies)}
    running = {
        "server": _start(parts, "canned", env),
        "envoy": start_envoy(parts, "canned", settings),
    }
    return Contestant("limit: a canned HttpBody through Envoy", REST, LIMIT, settings.rest_port, running)


def _peer(  # noqa: PLR0913, PLR0917 # a row of the table
    parts: Parts, mongo: Part, mongo_port: int, name: str, protocol: str, role: str, program: str
) -> Contestant:
    port = free_port()
    env = {
        "PORT": str(port),
        "MONGODB_URI": mongod.uri(mongo_port),
        "MONGODB_DATABASE": DATABASE,
        "MONGO_PORT": str(mongo_port),
        "PROTO_PATH": f"{ROOT / 'protos'}:{_GOOGLEAPIS}",
        "NODE_ENV": "production",
    }
    return Contestant(name, protocol, role, port, {"server": _start(parts, program, env), "mongod": mongo})


def _rollcall(  # noqa: PLR0913, PLR0917 # what may differ
    parts: Parts,
    mongo: Part,
    mongo_port: int,
    name: str,
    role: str,
    driver: str = "motor",
    workers: int = 1,
) -> list[Contestant]:
    settings, environment = settings_of(mongo_port, DATABASE, driver, workers)
    running = start_rollcall(parts, f"{role}-{driver}-{workers}", settings, environment)
    behind = {"server": running["server"], "mongod": mongo}
    return [
        Contestant(name, REST, role, settings.rest_port, {**behind, "envoy": running["envoy"]}),
        Contestant(name, GRPC, role, settings.grpc_port, behind),
    ]


def _start(parts: Parts, program: str, env: Mapping[str, str]) -> Part:
    """Start a peer: a module, an application for uvicorn (with a colon), or a script for Node."""
    folder = None
    if program.endswith(".js"):
        command = ["node", program]
        folder = NODE_PEERS
    elif ":" in program:
        served = ("--port", env["PORT"], "--workers", "1", "--no-access-log", "--log-level", "warning")
        command = [sys.executable, "-m", "uvicorn", f"bench.peers.{program}", *served]
    else:
        command = [sys.executable, "-m", f"bench.peers.{program}"]
    part = parts.start(program.partition(":")[0], command, env, folder)
    parts.wait_until(lambda: is_open(int(env["PORT"])))
    return part


def install_node_peers() -> None:
    """Install what the Node peers need, in the versions that package.json pins."""
    if (NODE_PEERS / "node_modules" / "fastify").is_dir():
        return
    command = ["npm", "install", "--no-package-lock", "--no-save", "--no-audit", "--no-fund", "--silent"]
    done = subprocess.run(command, cwd=NODE_PEERS, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"npm install in {NODE_PEERS} failed:\n{done.stdout}{done.stderr}")
