"""The command line: `rollcall`."""

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from server import audit
from server.commands.options import (
    ClientId,
    DataDir,
    DeveloperId,
    Group,
    Groups,
    Permissions,
    Scopes,
    Sub,
    caller_of_options,
    lifetime_of,
    settings_of,
)
from server.embedded.child import ServiceError
from server.embedded.service import find_service
from server.embedded.signals import Signals
from server.errors import RollcallError
from server.health_cli import check_health
from server.key_cli import app as keys
from server.pull_cli import pull_records
from server.settings import SettingsError, load, load_environment

HELP = """List the sessions of four systems, over gRPC and REST.

\b
Try it on this machine, MongoDB and Envoy included:
  rollcall up

\b
Ask it, in another terminal:
  TOKEN=$(rollcall token --sub alice --scope api:aip-agents-write)
  curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/session

\b
Run the gRPC server alone, against your MongoDB and your issuer:
  export ROLLCALL_MONGODB_URI='mongodb://db1,db2,db3/?replicaSet=rs0'
  export ROLLCALL_JWKS=https://issuer.example/jwks.json
  export ROLLCALL_PAGE_TOKEN_KEYS=$(openssl rand -hex 32)
  rollcall serve

Settings are environment variables that begin with ROLLCALL_, also in .env, or names in rollcall.toml.
`rollcall config` prints them, and where each was set.
"""


class _Group(Group):
    """Turns what an operator can mend into one line on stderr and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (SettingsError, ServiceError, RollcallError) as error:
            typer.echo(f"rollcall: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, SettingsError) else 1) from None


app = typer.Typer(
    name="rollcall",
    cls=_Group,
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(keys)
app.command("pull")(pull_records)
app.command("health")(check_health)


@app.command("up")
def run_all(
    *,
    no_demo: Annotated[bool, typer.Option("--no-demo", help="Start without the demo data.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Run MongoDB, the gRPC server and Envoy on this machine until Ctrl-C.

    Prints calls to paste, with a token, once all is healthy.  The data stays in the data folder.
    ROLLCALL_MONGODB_URI takes a MongoDB of yours instead; ROLLCALL_REST_PORT, ROLLCALL_GRPC_PORT and
    ROLLCALL_MONGO_PORT move the ports.
    """
    signals = Signals()  # before anything that takes time
    from server.embedded import up  # noqa: PLC0415 # only this command runs MongoDB and Envoy

    up.up(settings_of(data_dir), signals, with_demo=not no_demo)


@app.command("serve")
def serve(
    *,
    no_files: Annotated[
        bool, typer.Option("--no-files", help="Take settings from the environment alone.")
    ] = False,
) -> None:
    """Run the gRPC server alone until SIGTERM; needs MongoDB and the keys that verify tokens."""
    from server.observability import logs, metrics  # noqa: PLC0415 # only the server logs and counts

    settings = load_environment() if no_files else load()
    logs.configure(settings.log_level, traced=settings.otlp_endpoint is not None)
    if settings.workers > 1:
        from server import workers  # noqa: PLC0415 # one process needs none

        try:
            asyncio.run(workers.supervise(settings))
        except workers.WorkerError:
            raise typer.Exit(2) from None
        return
    import uvloop  # noqa: PLC0415 # as below

    from server import allocator  # noqa: PLC0415 # as below
    from server import app as application  # noqa: PLC0415 # only a worker needs the whole service

    allocator.keep_freed_memory()
    with metrics.served(settings, for_workers=False):
        uvloop.run(application.serve(settings))


@app.command("token")
def print_token(  # noqa: PLR0913 # one option a claim
    *,
    sub: Sub,
    developer_id: DeveloperId = None,
    client_id: ClientId = None,
    permission: Permissions = None,
    scope: Scopes = None,
    group: Groups = None,
    expires_in: Annotated[str, typer.Option(metavar="DURATION", help="30s, 15m, 1h or 7d.")] = "1h",
    data_dir: DataDir = None,
) -> None:
    r"""Print a token for the service in the data folder, or of ROLLCALL_JWT_SECRET.

    \b
    Examples:
      rollcall token --sub alice
      rollcall token --sub importer --scope sessions:write --expires-in 15m
      rollcall token --sub alice --permission USE_ROBOTS --developer-id acme
    """
    from server.commands import tokens  # noqa: PLC0415 # only this command signs

    lifetime = lifetime_of(expires_in)
    caller = caller_of_options(sub, developer_id, client_id, permission, scope, group)
    settings = find_service(settings_of(data_dir), needs="jwt_secret")
    typer.echo(tokens.sign(settings, caller, lifetime))


@app.command("import")
def import_records(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="JSON lines; - is stdin.")],
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad line.")] = False,
    data_dir: DataDir = None,
) -> None:
    r"""Import records; those that are there are replaced.

    Each line is {"kind": KIND, "owner": {...}, "body": {the documented JSON item}}.  A bad line is
    reported as FILE:LINE: field: rule, the rest goes in, and the exit status is 1.

    \b
    Kinds and owners:
      user_session   {"user_id": U}
      session        {"developer_id": D}
      robot          {}
      robot_session  {}; the body may carry "messages"
      agent_session  {"user_id": U, "client_id": C}
      agent          {"viewers": ["*", "user:ID", "group:ID"]}; the body is {"rid": RID}
    """
    from server.commands import importing  # noqa: PLC0415 # the store is slow to load for the other commands
    from server.commands.import_lines import Report  # noqa: PLC0415 # as above

    report = Report()
    try:
        importing.import_files(find_service(settings_of(data_dir)), files, report, strict=strict)
    except OSError as error:
        raise SettingsError(f"{error.filename}: {error.strerror}") from None
    finally:
        audit.by_operator("import", records=report.stored, refused=report.refused)
        typer.echo(f"imported {report.stored:,} records, refused {report.refused:,} lines", err=True)
    if report.refused:
        raise typer.Exit(1)


@app.command("show")
def show_record(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="As in an import line, or robot_message.")],
    id_: Annotated[str, typer.Argument(metavar="ID", help="The record's uuid, id or rid.")],
    *,
    owner: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="As user_id=alice; one for each part of the owner."),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    r"""Print one record as its contract does, indented.

    \b
    Examples:
      rollcall show robot_session cc5lnd2s1s4652adtu50
      rollcall show session 3c90c3cc-0d44-4b50-8888-8dd25736052a --owner developer_id=acme
    """
    from server.commands import maintenance  # noqa: PLC0415 # as above

    named = dict(_owner_part(part) for part in owner or ())
    typer.echo(maintenance.show(find_service(settings_of(data_dir)), kind, id_, named))


def _owner_part(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter("must be NAME=VALUE, such as user_id=alice", param_hint="'--owner'")
    return name, value


@app.command("migrate")
def migrate_records(*, data_dir: DataDir = None) -> None:
    """Make the indexes, and derive again what an older version of rollcall derived.

    Safe to stop and to repeat, and while the service runs.
    """
    from server.commands import maintenance  # noqa: PLC0415 # as above

    renewed = maintenance.migrate(find_service(settings_of(data_dir)))
    typer.echo(f"renewed {renewed:,} records", err=True)


@app.command("config")
def print_settings(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="As JSON: value, source, line and hidden of each.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    r"""Print the settings that hold here, and where each was set; exit with 2 if one is wrong.

    The nearest of these sources decides: the command line, the environment, .env and rollcall.toml in
    the working folder, the default.  ROLLCALL_CONFIG names another file than rollcall.toml.
    Secrets are not shown.  The output is a rollcall.toml that gives the same settings, but for secrets.

    \b
    Examples:
      rollcall config
      rollcall config | grep -v '# default$'
      rollcall config > new.toml
      rollcall config --json | jq -r .grpc_port.value

    \b
    A rollcall.toml:
      grpc_port = 50052
      cors_origins = ["https://console.example"]
      page_token_keys_file = "/etc/rollcall/page_token_keys"
    """
    from server.commands import config  # noqa: PLC0415 # only this command prints them

    settings = settings_of(data_dir)
    config.check(settings)
    typer.echo((config.as_json if as_json else config.as_toml)(settings), nl=False)


@app.command("envoy")
def print_envoy_config(
    *, output: Annotated[str, typer.Option(metavar="FILE", help="Where to; - is stdout.")] = "-"
) -> None:
    """Write a configuration of Envoy for these settings, complete in one file.

    ROLLCALL_REST_HOST and ROLLCALL_REST_PORT say where Envoy listens, ROLLCALL_GRPC_HOST and
    ROLLCALL_GRPC_PORT where the servers are, ROLLCALL_CORS_ORIGINS which browsers may call.
    """
    from server.embedded import envoy  # noqa: PLC0415 # only this command reads envoy.yaml

    text = envoy.portable_config(load())
    if output == "-":
        typer.echo(text, nl=False)
        return
    try:
        Path(output).write_text(text)
    except OSError as error:
        raise SettingsError(f"--output: {output}: {error.strerror}") from None


@app.command("export")
def export_records(
    kinds: Annotated[
        list[str] | None, typer.Argument(metavar="[KIND...]", help="As in an import line; all if none.")
    ] = None,
    *,
    output: Annotated[str, typer.Option(metavar="FILE", help="Where to; - is stdout.")] = "-",
    data_dir: DataDir = None,
) -> None:
    """Write every record as lines that `rollcall import` reads: a backup.

    The lines are ordered; import and export again give the same bytes.
    """
    from server.commands import exporting, maintenance  # noqa: PLC0415 # as above

    names = frozenset(maintenance.kind_named(name).name for name in kinds or ())
    settings = find_service(settings_of(data_dir))
    try:
        with contextlib.nullcontext(sys.stdout.buffer) if output == "-" else Path(output).open("wb") as sink:
            lines = exporting.export(settings, names, sink.write)
    except OSError as error:
        raise SettingsError(f"--output: {output}: {error.strerror}") from None
    typer.echo(f"exported {lines:,} records", err=True)


@app.command("erase")
def erase_records(
    *,
    user: Annotated[str | None, typer.Option(metavar="ID", help="Whose records: a user or account.")] = None,
    tenant: Annotated[str | None, typer.Option(metavar="ID", help="Whose records: a tenant.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
) -> None:
    r"""Delete every record of a user or a tenant, and its API keys, for good.

    \b
    A user's: user sessions, agent sessions, and robot sessions that the account began, with their messages;
    agents no longer name it as a viewer.
    A tenant's: its sessions, and the user and agent sessions that its services wrote.
    """
    if (user is None) == (tenant is None):
        raise typer.BadParameter("give one of --user and --tenant")
    subject, name = ("user", user or "") if user is not None else ("tenant", tenant or "")
    if not yes:
        typer.confirm(f"Delete every record of the {subject} {name!r}?", abort=True, err=True)
    from server.commands import erasing  # noqa: PLC0415 # as above

    counts = erasing.erase(find_service(settings_of(data_dir)), subject, name)
    for sort, (before, after) in counts.items():
        typer.echo(f"{sort}: {before:,} before, {after:,} after", err=True)


if __name__ == "__main__":
    app()
