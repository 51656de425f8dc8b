"""Members of the Storyden community, and their roles."""

from typing import Any

from server.demo.dice import Dice, printed

Document = dict[str, Any]

SEED = 303

_ROLES = {
    "everyone": ("Everyone", "hsl(150, 8%, 55%)", False, True),
    "admin": ("Admin", "hsl(0, 72%, 51%)", True, False),
    "moderator": ("Moderator", "hsl(221, 83%, 53%)", True, False),
    "librarian": ("Librarian", "hsl(35, 92%, 45%)", True, False),
    "greeter": ("Greeter", "hsl(142, 71%, 40%)", False, False),
}
_MEMBERS = (
    ("ada", "Ada Virtanen", ("admin", "moderator"), "<body><p>Be kind, cite your sources.</p></body>"),
    ("bram", "Bram de Wit", ("moderator",), None),
    ("chloe", "Chloé Dubois", ("librarian",), "<body><p>Ask me about <em>old maps</em>.</p></body>"),
    ("dev", "Dev Kapoor", ("moderator", "librarian"), None),
    ("esi", "Esi Boateng", ("greeter",), "<body><p>Welcome, whoever you are!</p></body>"),
    ("farid", "Farid Rahimi", ("admin",), None),
    ("grace", "Grace O'Neill", ("greeter", "librarian"), None),
    ("hiro", "広田 健", ("moderator",), "<body><p>写真と将棋が好きです。</p></body>"),
)
_SUSPENDED = "bram"


def members() -> list[Document]:
    """Return the accounts, as sessions, messages and robots carry them."""
    dice = Dice(SEED)
    roles = {name: _role(dice, name) for name in _ROLES}
    made = []
    for handle, name, held, signature in _MEMBERS:
        joined = dice.moment(-400, -60)
        account = {
            "id": dice.xid(joined),
            "joined": printed(joined),
            "handle": handle,
            "name": name,
            "roles": [roles[role] for role in ("everyone", *held)],
        }
        if signature is not None:
            account["signature"] = signature
        if handle == _SUSPENDED:
            account["suspended"] = printed(dice.moment(101, 110))
        made.append(account)
    return made


def _role(dice: Dice, key: str) -> Document:
    name, colour, badge, default = _ROLES[key]
    role = {
        "badge": badge,
        "default": default,
        "id": dice.xid(dice.moment(-500, -450)),
        "name": name,
        "colour": colour,
    }
    if badge:
        role["meta"] = {"bold": key == "admin"}
    return role
