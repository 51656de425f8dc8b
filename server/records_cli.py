"""The command line: `rollcall import`, `export`, `show`, `erase` and `migrate`."""

from typing import Annotated

import typer

from server import audit
from server.commands.options import DataDir, check_id, settings_of
from server.embedded.service import find_service
from server.settings import SettingsError


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
    settings = find_service(settings_of(data_dir))
    try:
        importing.import_files(settings, files, report, strict=strict)
    except OSError as error:
        raise SettingsError(f"{error.filename}: {error.strerror}") from None
    finally:
        audit.by_operator("import", records=report.stored, refused=report.refused)
        typer.echo(f"imported {report.stored:,} records, refused {report.refused:,} lines", err=True)
    if report.refused:
        raise typer.Exit(1)


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


def migrate_records(*, data_dir: DataDir = None) -> None:
    """Make the indexes, and derive again what an older version of rollcall derived.

    Safe to stop and to repeat, and while the service runs.
    """
    from server.commands import maintenance  # noqa: PLC0415 # as above

    renewed = maintenance.migrate(find_service(settings_of(data_dir)))
    typer.echo(f"renewed {renewed:,} records", err=True)


def export_records(
    kinds: Annotated[
        list[str] | None, typer.Argument(metavar="[KIND...]", help="As in an import line; all if none.")
    ] = None,
    *,
    output: Annotated[str, typer.Option(metavar="FILE", help="Where to; - is stdout.")] = "-",
    data_dir: DataDir = None,
) -> None:
    r"""Write every record as lines that `rollcall import` reads: a backup.

    The lines are ordered; import and export again give the same bytes.  FILE is replaced once the export
    is complete, so one that fails or is stopped leaves the file from before.

    \b
    Examples:
      rollcall export --output rollcall.jsonl
      rollcall export session robot | gzip > some.jsonl.gz
    """
    from server.commands import exporting, maintenance  # noqa: PLC0415 # as above

    wanted = exporting.exported(frozenset(maintenance.kind_named(name).name for name in kinds or ()))
    settings = find_service(settings_of(data_dir))
    try:
        lines = exporting.export(settings, wanted, output)
    except BrokenPipeError:
        raise  # Who reads has enough; typer ends quietly then.
    except OSError as error:
        raise SettingsError(f"--output: {output}: {error.strerror}") from None
    typer.echo(f"exported {lines:,} records", err=True)


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
    What stays: the author's account in robots, and in messages of sessions that others began.

    Withdraw the tokens first, and erase again after ROLLCALL_CREDENTIAL_CACHE_SECONDS: until then servers
    take keys as known.
    """
    if (user is None) == (tenant is None):
        raise typer.BadParameter("give one of --user and --tenant")
    subject, name = ("user", user) if user is not None else ("tenant", tenant or "")
    # Of an empty name, as of a variable that is not set, is what was imported without a tenant.
    check_id(f"--{subject}", name)
    if not yes:
        typer.confirm(f"Delete every record of the {subject} {name!r}?", abort=True, err=True)
    from server.commands import erasing  # noqa: PLC0415 # as above

    counts = erasing.erase(find_service(settings_of(data_dir)), subject, name)
    for sort, (before, after) in counts.items():
        typer.echo(f"{sort}: {before:,} before, {after:,} after", err=True)
