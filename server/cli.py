"""The command line: `rollcall`."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

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
from server.records_cli import erase_records, export_records, import_records, migrate_records, show_record
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
    ROLLCALL_GRPC_PORT where the servers are, ROLLCALL_CORS_ORIGINS which browsers may call,
    ROLLCALL_ENVOY_METRICS_HOST and ROLLCALL_ENVOY_METRICS_PORT where Prometheus finds its metrics.
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


app.add_typer(keys)
app.command("import")(import_records)
app.command("pull")(pull_records)
app.command("export")(export_records)
app.command("show")(show_record)
app.command("erase")(erase_records)
app.command("migrate")(migrate_records)
app.command("health")(check_health)

if __name__ == "__main__":
    app()
