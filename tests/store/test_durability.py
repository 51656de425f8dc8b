"""What is acknowledged is on the disks of most nodes, whatever an operator's connection string says."""

import uuid
from typing import Any

import pytest
from pydantic import SecretStr
from pymongo.monitoring import CommandListener

from server.app import KINDS
from server.auth.api_keys import new_key
from server.records import robot, robot_session, session
from server.records.caller import Caller
from server.store import driver, indexes
from server.store.api_keys import StoredKeys
from server.store.writes import Creation, Writes
from tests.stack import Stack
from tests.store.test_store_contract import DRIVERS, a_robot, a_robot_session, a_session

DURABLE = {"w": "majority", "j": True}
WRITES = {"insert", "update", "delete", "commitTransaction"}
INSIDE = {"findAndModify"}
"""A write that is always a part of a transaction here."""


class Heard(CommandListener):
    """The write concern of each write that ends by itself, or of its transaction's end."""

    def __init__(self) -> None:
        self.concerns: list[tuple[str, Any]] = []

    def started(self, event: Any) -> None:
        inside = event.command.get("autocommit") is False and event.command_name != "commitTransaction"
        if event.command_name in WRITES | INSIDE and not inside:
            self.concerns.append((event.command_name, event.command.get("writeConcern")))

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass


@pytest.mark.parametrize("name", DRIVERS)
async def test_every_write_asks_for_a_majority_and_its_journal(stack: Stack, name: str) -> None:
    uri = stack.settings.mongodb_uri.get_secret_value() + "&w=1&journal=false"
    changes = {
        "mongodb_driver": name,
        "mongodb_database": f"test_{uuid.uuid4().hex[:20]}",
        "mongodb_uri": SecretStr(uri),
    }
    settings = stack.settings.model_copy(update=changes)
    heard = Heard()
    connection = driver.connect(settings, [heard])
    try:
        await indexes.make(connection.database, KINDS)
        writes, keys = Writes(connection), StoredKeys(connection.database)

        [plain] = await writes.create(session.KIND, [Creation(a_session(1))])
        other, _ = await writes.create(session.KIND, [Creation(a_session(2)), Creation(a_session(3))])
        await writes.create(session.KIND, [Creation(a_session(4), "r", "a")])
        await writes.create(robot.KIND, [Creation(a_robot())])
        await writes.replace(session.KIND, a_session(1), plain["etag"])
        await writes.delete(session.KIND, other["_id"], other["etag"])
        await writes.put(session.KIND, [a_session(5)])
        await writes.put(robot_session.KIND, [a_robot_session()])
        await writes.erase(session.KIND, {"owner.developer_id": "t"})
        key = new_key(Caller(sub="ada", tenant="t"), None, None, [])
        await keys.add(key.document)
        await keys.revoke(key.document["id"])
        await keys.erase("user", "ada")

        assert {command for command, _ in heard.concerns} == WRITES
        assert [each for each in heard.concerns if each[1] != DURABLE] == []
        await connection.database.client.drop_database(settings.mongodb_database)
    finally:
        await connection.close()
