"""The command line: `rollcall key`."""

from typing import Annotated

import typer

from server.commands.options import (
    ClientId,
    DataDir,
    DeveloperId,
    Groups,
    Permissions,
    Scopes,
    Sub,
    caller_of_options,
    lifetime_of,
    settings_of,
)
from server.embedded.service import find_service

app = typer.Typer(
    name="key",
    help="Add, list and revoke API keys.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command("add")
def add_key(  # noqa: PLR0913 # one option a claim
    *,
    sub: Sub,
    developer_id: DeveloperId = None,
    client_id: ClientId = None,
    permission: Permissions = None,
    scope: Scopes = None,
    group: Groups = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Import this key instead of drawing one; - reads it from stdin."),
    ] = None,
    expires_in: Annotated[
        str | None, typer.Option(metavar="DURATION", help="30s, 15m, 1h or 7d; without it, never.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Add an API key.  A new one is printed on stdout, this once: only its hash is stored.

    \b
    Examples:
      KEY=$(rollcall key add --sub alice --developer-id acme)
      rollcall key add --sub alice --developer-id acme --key - < old_key
    """  # noqa: D301 # \b keeps the lines below it
    from server.commands import keys  # noqa: PLC0415 # the store is slow to load for the other commands

    caller = caller_of_options(sub, developer_id, client_id, permission, scope, group)
    lifetime = None if expires_in is None else lifetime_of(expires_in)
    given = typer.get_text_stream("stdin").readline().strip() if key == "-" else key
    settings = find_service(settings_of(data_dir))
    id_, new = keys.add(settings, caller, lifetime, given)
    typer.echo(f"added key {id_}", err=True)
    if key is None:
        typer.echo(new)


@app.command("list")
def list_keys(*, data_dir: DataDir = None) -> None:
    """Print a JSON line for each API key: its id, its claims, when it was added and when it expires."""
    from server.commands import keys  # noqa: PLC0415 # as above

    for line in keys.lines(find_service(settings_of(data_dir))):
        typer.echo(line)


@app.command("revoke")
def revoke_key(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `rollcall key list` prints it.")],
    *,
    data_dir: DataDir = None,
) -> None:
    """Revoke an API key.  Servers notice within ROLLCALL_CREDENTIAL_CACHE_SECONDS."""
    from server.commands import keys  # noqa: PLC0415 # as above

    keys.revoke(find_service(settings_of(data_dir)), id_)
    typer.echo(f"revoked key {id_}", err=True)
