"""Options that several commands have."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from server.records.caller import Caller
from server.records.violation import FieldError
from server.settings import Settings, load

MAX_LIFETIME = timedelta(days=3650)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Group(TyperGroup):
    r"""Commands whose docstrings may be raw: a `\b` in them keeps the lines below it apart in the help."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command with its help as it is to be read."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.help:
            command.help = command.help.replace(r"\b", "\b")
        return command


def _text(value: str) -> str:
    if not value or not value.isprintable():
        raise typer.BadParameter("must be printable text, and not empty")
    return value


def check_id(option: str, value: str) -> None:
    """Refuse what cannot be the id of a user, tenant or client."""
    from server.records.fields import NAME  # noqa: PLC0415 # records are slow to load for the other commands

    try:
        NAME.check(value)
    except FieldError as error:
        raise typer.BadParameter(error.rule, param_hint=f"'{option}'") from None


def lifetime_of(value: str) -> timedelta:
    """Return the lifetime that `--expires-in` names."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
    lifetime = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not timedelta() < lifetime <= MAX_LIFETIME:
        raise typer.BadParameter(
            f"must be a number and s, m, h or d, such as 30s or 7d, up to {MAX_LIFETIME.days}d",
            param_hint="'--expires-in'",
        )
    return lifetime


DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Folder of `rollcall up`; instead of ROLLCALL_DATA_DIR.",
        show_default=False,
    ),
]


def settings_of(data_dir: Path | None) -> Settings:
    """Return the settings of the environment, with the data folder of the command line if it names one."""
    return load() if data_dir is None else load(data_dir=data_dir)


Sub = Annotated[str, typer.Option(parser=_text, metavar="ID", help="User or account id.")]
DeveloperId = Annotated[
    str | None, typer.Option(parser=_text, metavar="ID", help="Tenant, if it is not the user.")
]
ClientId = Annotated[str | None, typer.Option(parser=_text, metavar="ID", help="Client application.")]
Permissions = Annotated[
    list[str] | None, typer.Option(parser=_text, metavar="NAME", help="As USE_ROBOTS; repeatable.")
]
Scopes = Annotated[
    list[str] | None, typer.Option(parser=_text, metavar="NAME", help="As sessions:write; repeatable.")
]
Groups = Annotated[
    list[str] | None, typer.Option(parser=_text, metavar="ID", help="Group of the user; repeatable.")
]


def caller_of_options(  # noqa: PLR0913, PLR0917 # one option a claim
    sub: str,
    developer_id: str | None,
    client_id: str | None,
    permission: list[str] | None,
    scope: list[str] | None,
    group: list[str] | None,
) -> Caller:
    """Return the caller that the options name."""
    return Caller(
        sub=sub,
        tenant=developer_id or sub,
        client_id=client_id or "",
        permissions=frozenset(permission or ()),
        scopes=frozenset(scope or ()),
        groups=frozenset(group or ()),
    )
