"""Storyden's robots, their sessions and what was said in them."""

from collections.abc import Iterator
from typing import Any

from server.demo.accounts import members
from server.demo.dice import DAY, HOUR, MINUTE, SECOND, Dice, printed
from server.demo.tasks import AREAS, TASKS, Exchange, Task

Document = dict[str, Any]

SEED = 404
SESSIONS = 244

_MODELS = ("anthropic/claude-sonnet-4-5", "google/gemini-2.5-flash", "openai/gpt-5-mini")
_ICONS = ("👋", "🧹", "🛡️", "📚", "📰")
_ACTIVITY = (5, 2, 4, 3, 2, 4, 3, 2)
"""How much each member talks to robots, against the others."""


def lines() -> Iterator[Document]:
    """Yield the import lines of the robots, then of their sessions."""
    dice = Dice(SEED)
    accounts = members()
    by_area: dict[str, list[tuple[Task, Document]]] = {}
    for area in AREAS:
        for task in TASKS:
            robot = _robot(dice, task, area, dice.choice(accounts))
            by_area.setdefault(area, []).append((task, robot))
            yield {"kind": "robot", "owner": {}, "body": robot}
    for _ in range(SESSIONS):
        area = dice.choice(AREAS)
        (author,) = dice.choices(accounts, _ACTIVITY)
        team = dice.some(by_area[area], 1, 2)
        yield {"kind": "robot_session", "owner": {}, "body": _session(dice, area, author, team)}


def _robot(dice: Dice, task: Task, area: str, author: Document) -> Document:
    created = dice.moment(-50, -1)
    robot: Document = {
        "id": dice.xid(created),
        "createdAt": printed(created),
        "updatedAt": printed(created if dice.once_in(3) else dice.later(created, HOUR, 40 * DAY)),
        "name": f"{task.name} · {area}",
        "description": task.description.format(area=area),
        "playbook": task.playbook.format(area=area),
        "model": dice.choice(_MODELS),
        "author": author,
        "tools": [] if dice.once_in(12) else list(task.tools),
    }
    if dice.once_in(12):
        robot["deletedAt"] = printed(dice.moment(101, 110))
    if dice.once_in(5):
        robot["meta"] = {"icon": dice.choice(_ICONS), "pinned": dice.once_in(2)}
    if dice.once_in(6):
        robot["misc"] = dice.choice(({}, {"reviewed": True}))
    return robot


def _session(dice: Dice, area: str, author: Document, team: list[tuple[Task, Document]]) -> Document:
    created = dice.moment()
    messages = _messages(dice, area, author, team, created) if dice.once_in(2) else []
    updated = messages[-1][0] if messages else dice.later(created, MINUTE, 3 * HOUR)
    title = team[0][0].exchanges[0].question.format(area=area).removesuffix(".")
    session: Document = {
        "id": dice.xid(created),
        "createdAt": printed(created),
        "updatedAt": printed(updated),
        "name": "" if dice.once_in(9) else dice.choice((title, team[0][1]["name"])),
        "created_by": author,
    }
    if dice.once_in(14):
        session["deletedAt"] = printed(dice.later(updated, HOUR, 5 * DAY))
    if dice.once_in(5):
        session["misc"] = dice.choice(({}, {"pinned": True}, {"source": "command-palette", "area": area}))
    if messages:
        session["messages"] = [message for _, message in messages]
    return session


def _messages(
    dice: Dice, area: str, author: Document, team: list[tuple[Task, Document]], begun: int
) -> list[tuple[int, Document]]:
    """Return up to twelve messages with their times; the second robot takes over from the first."""
    moment = begun
    made: list[tuple[int, Document]] = []
    for task, robot in team:
        for exchange in task.exchanges[: dice.randint(1, len(task.exchanges))]:
            moment = dice.later(moment, 5 * SECOND, 4 * MINUTE)
            question = _message(dice, moment, "user", robot, [_text(exchange.question, area)])
            made.append((moment, {**question, "author": author}))
            moment = dice.later(moment, 2 * SECOND, 20 * SECOND)
            answer = _message(dice, moment, "assistant", robot, _answer(dice, area, exchange))
            made.append((moment, {**answer, "metadata": _usage(dice, robot, exchange)}))
    return made


def _message(dice: Dice, moment: int, role: str, robot: Document, parts: list[Document]) -> Document:
    return {
        "id": dice.xid(moment),
        "role": role,
        "parts": parts,
        "created_at": printed(moment),
        "robot": {"id": robot["id"], "name": robot["name"]},
    }


def _answer(dice: Dice, area: str, exchange: Exchange) -> list[Document]:
    """Return the parts of an answer: what the robot called, if anything, and what it says."""
    called = [] if exchange.tool is None else [_tool_call(dice, area, exchange)]
    return [*called, _text(exchange.answer, area)]


def _usage(dice: Dice, robot: Document, exchange: Exchange) -> Document:
    tokens = {"input": dice.randint(300, 2400), "output": 20 + len(exchange.answer) // 3}
    return {"model": robot["model"], "tokens": tokens}


def _text(text: str, area: str) -> Document:
    return {"type": "text", "text": text.format(area=area), "state": "done"}


def _tool_call(dice: Dice, area: str, exchange: Exchange) -> Document:
    return {
        "type": "dynamic-tool",
        "toolName": exchange.tool,
        "toolCallId": f"call_{dice.getrandbits(48):012x}",
        "state": "output-available",
        "input": {"category": area.lower().replace(" ", "-")},
        "output": {"results": exchange.found},
    }
