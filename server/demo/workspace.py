"""Workspaces of the coding tutor: programs as Blockly saves them."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from server.demo.dice import Dice

Block = dict[str, Any]

_ID_CHARACTERS = "!#$%()*+,-./:;=?@[]^_`{|}~ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class _Builder:
    """Makes blocks and counts them."""

    def __init__(self, dice: Dice, number: int) -> None:
        self.dice = dice
        self.number = number
        self.count = 0
        self.variables: list[dict[str, str]] = []

    def new_id(self) -> str:
        return "".join(self.dice.choices(_ID_CHARACTERS, k=20))

    def block(self, kind: str, fields: dict[str, Any] | None = None, **inputs: Block) -> Block:
        self.count += 1
        made: Block = {"type": kind, "id": self.new_id()}
        if fields:
            made["fields"] = fields
        if inputs:
            made["inputs"] = {name: {"block": block} for name, block in inputs.items()}
        return made

    def number_block(self, value: float) -> Block:
        return self.block("math_number", {"NUM": value})

    def text(self, value: str) -> Block:
        return self.block("text", {"TEXT": value})

    def print(self, value: Block) -> Block:
        return self.block("text_print", None, TEXT=value)

    def variable(self, name: str) -> dict[str, Any]:
        known = {variable["name"]: variable["id"] for variable in self.variables}
        if name not in known:
            known[name] = self.new_id()
            self.variables.append({"name": name, "id": known[name]})
        return {"VAR": {"id": known[name]}}

    def get(self, name: str) -> Block:
        return self.block("variables_get", self.variable(name))


def _chain(*blocks: Block) -> Block:
    for block, following in pairwise(blocks):
        block["next"] = {"block": following}
    return blocks[0]


def _turtle(make: _Builder) -> list[Block]:
    body = _chain(
        make.block("turtle_move", {"DIR": "moveForward"}, VALUE=make.number_block(100)),
        make.block("turtle_turn", {"DIR": "turnRight"}, VALUE=make.number_block(round(360 / make.number, 2))),
    )
    return [make.block("controls_repeat_ext", None, TIMES=make.number_block(make.number), DO=body)]


def _count(make: _Builder) -> list[Block]:
    bounds = {
        "FROM": make.number_block(1),
        "TO": make.number_block(make.number),
        "BY": make.number_block(1),
    }
    return [make.block("controls_for", make.variable("i"), **bounds, DO=make.print(make.get("i")))]


def _function(make: _Builder) -> list[Block]:
    greeting = make.block("text_join", None, ADD0=make.text("Hello, "), ADD1=make.get("name"))
    definition = make.block("procedures_defnoreturn", {"NAME": "greet"}, STACK=make.print(greeting))
    call = make.block("procedures_callnoreturn", None, ARG0=make.text("Mia"))
    call["extraState"] = {"name": "greet", "params": ["name"]}
    return [definition, call]


def _condition(make: _Builder) -> list[Block]:
    remainder = make.block(
        "math_modulo", None, DIVIDEND=make.number_block(make.number), DIVISOR=make.number_block(2)
    )
    even = make.block("logic_compare", {"OP": "EQ"}, A=remainder, B=make.number_block(0))
    branches = {"DO0": make.print(make.text("even")), "ELSE": make.print(make.text("odd"))}
    chosen = make.block("controls_if", None, IF0=even, **branches)
    chosen["extraState"] = {"hasElse": True}
    return [chosen]


def _while(make: _Builder) -> list[Block]:
    secret = make.block(
        "math_random_int", None, FROM=make.number_block(1), TO=make.number_block(2 * make.number)
    )
    differs = make.block("logic_compare", {"OP": "NEQ"}, A=make.get("guess"), B=make.get("secret"))
    ask = make.block("text_prompt_ext", {"TYPE": "NUMBER"}, TEXT=make.text("Your guess?"))
    body = make.block("variables_set", make.variable("guess"), VALUE=ask)
    return [
        _chain(
            make.block("variables_set", make.variable("secret"), VALUE=secret),
            make.block("controls_whileUntil", {"MODE": "WHILE"}, BOOL=differs, DO=body),
        )
    ]


def _list(make: _Builder) -> list[Block]:
    names = ("otter", "owl", "lynx", "hare", "swan", "newt")[: make.number]
    items = make.block(
        "lists_create_with", None, **{f"ADD{index}": make.text(name) for index, name in enumerate(names)}
    )
    items["extraState"] = {"itemCount": len(names)}
    each = make.block(
        "controls_forEach",
        make.variable("animal"),
        LIST=make.get("animals"),
        DO=make.print(make.get("animal")),
    )
    return [_chain(make.block("variables_set", make.variable("animals"), VALUE=items), each)]


_PROGRAMS: dict[str, Callable[[_Builder], list[Block]]] = {
    "turtle": _turtle,
    "count": _count,
    "function": _function,
    "condition": _condition,
    "while": _while,
    "list": _list,
}


def workspace(dice: Dice, program: str, number: int) -> tuple[dict[str, Any], int]:
    """Return the workspace of a program about `number`, and how many blocks it has."""
    make = _Builder(dice, number)
    top = _PROGRAMS[program](make)
    for index, block in enumerate(top):
        block["x"] = dice.randint(20, 180)
        block["y"] = 40 + 160 * index + dice.randint(0, 30)
    saved: dict[str, Any] = {"blocks": {"languageVersion": 0, "blocks": top}}
    if make.variables:
        saved["variables"] = make.variables
    return saved, make.count
