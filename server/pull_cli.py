"""The command line: `rollcall pull`."""

import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from urllib.parse import SplitResult, urlsplit

import typer

from server.commands.options import ClientId, DataDir, DeveloperId, check_id, settings_of
from server.embedded.service import find_service, hosts_of
from server.main import INTERRUPTED
from server.settings import Settings, SettingsError
from server.sources import PULL_TOKEN_VARIABLE, pull_token

if TYPE_CHECKING:
    from server.commands.pulling.source import Access
    from server.commands.pulling.system import System


def pull_records(  # noqa: PLR0913 # one option each
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="As below, by the kind that it lists.")],
    *,
    from_: Annotated[str, typer.Option("--from", metavar="URL", help="The base URL that its clients have.")],
    token: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Its token or key: others see it in `ps`; - reads it from stdin."),
    ] = None,
    token_file: Annotated[Path | None, typer.Option(metavar="FILE", help="The file that has it.")] = None,
    cookie: Annotated[
        bool, typer.Option("--cookie", help="Send the token as the system's cookie, not as Bearer.")
    ] = False,
    user_id: Annotated[str | None, typer.Option(metavar="ID", help="The user whom the token names.")] = None,
    client_id: ClientId = None,
    developer_id: DeveloperId = None,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM file of the CAs to trust.")] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where it is kept how far the pull is.")
    ] = None,
    tries: Annotated[int, typer.Option(min=1, max=1000, help="How often a request is tried.")] = 8,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and judge; store nothing.")] = False,
    data_dir: DataDir = None,
) -> None:
    r"""Copy a live system's list into this rollcall, through its own documented API.

    \b
    Systems, and whose their records become:
      user_session   TutoriaLLM; --user-id U [--developer-id D]
      session        Julep; --developer-id D
      robot_session  Storyden, with robots and messages
      agent_session  Foundry; --user-id U --client-id C [--developer-id D]

    The token is that of --token or --token-file, or of ROLLCALL_PULL_TOKEN.  What it may see is what is
    pulled: for each user of TutoriaLLM or Foundry, pull with a token of that user.

    Records that are there are replaced, so pulling again does no harm.  A bad item is reported as
    PATH:NUMBER (ID): field: rule, the rest goes in, and the exit status is 1.  After Ctrl-C or a lost
    connection, the same command goes on where it was; a user_session list, which is one answer, begins
    anew.  What the source deletes meanwhile may make a page skip a record, and what it adds or changes
    may come behind the pull: pull once more after the last write to the old system.

    \b
    Examples:
      rollcall pull session --from https://julep.example/api --developer-id acme --token-file key
      rollcall pull robot_session --from https://forum.example/api --cookie --token - < cookie
    """
    from server.commands.import_lines import Report  # noqa: PLC0415 # the store is slow to load
    from server.commands.pulling.pull import SYSTEMS, Pull, pull  # noqa: PLC0415 # as above
    from server.commands.pulling.source import SourceError  # noqa: PLC0415 # as above
    from server.commands.pulling.state import State, file_in  # noqa: PLC0415 # as above

    wanted = SYSTEMS.get(system)
    if wanted is None:
        _refuse("SYSTEM", f"must be one of {', '.join(SYSTEMS)}")
    names = {"user_id": user_id, "client_id": client_id, "developer_id": developer_id}
    owner = _owner(wanted, {name: value for name, value in names.items() if value is not None})
    if cookie and not wanted.cookies:
        _refuse("--cookie", f"the system of {system} takes no cookie")
    access = _access(wanted, from_, _token(token, token_file), ca, tries, cookie=cookie)
    settings = settings_of(data_dir)
    service = None if dry_run else find_service(settings)
    identity = {"system": system, "from": access.url, "owner": owner, "into": service and _store_of(service)}
    place = State(None if dry_run else state or file_in(settings.data_dir, identity), identity)
    report = Report()
    verb = "would pull" if dry_run else "pulled"
    try:
        pull(service, Pull(wanted, access, owner), place, report)
    except (SourceError, KeyboardInterrupt) as error:
        stopped = isinstance(error, KeyboardInterrupt)
        typer.echo(f"rollcall: {'stopped' if stopped else error}", err=True)
        if place.kept:
            typer.echo(f"the same command goes on from here, by {place.path}", err=True)
        raise typer.Exit(INTERRUPTED if stopped else 1) from None
    finally:
        typer.echo(f"{verb} {report.stored:,} records, refused {report.refused:,} items", err=True)
    if report.refused:
        raise typer.Exit(1)


def _refuse(option: str, rule: str) -> NoReturn:
    raise typer.BadParameter(rule, param_hint=f"'{option}'")


def _owner(system: "System", given: dict[str, str]) -> dict[str, str]:
    kind = system.kind
    for name in kind.owner:
        if name not in given:
            _refuse(_option(name), f"{kind.name} needs it: its list does not say whose it is")
    for name, value in given.items():
        if name not in kind.owner and name not in kind.optional_extras:
            _refuse(_option(name), f"does not go with {kind.name}")
        check_id(_option(name), value)
    return given


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _token(token: str | None, file: Path | None) -> str:
    """Return the token; no error quotes it."""
    if token is not None and file is not None:
        _refuse("--token", "give one of --token and --token-file")
    if file is not None:
        try:
            found = file.read_bytes().decode(errors="replace")
        except OSError as error:
            raise SettingsError(f"--token-file: {file}: {error.strerror}") from None
    elif token == "-":  # noqa: S105 # stdin
        found = typer.get_text_stream("stdin").readline()
    else:
        found = token or pull_token()
    found = found.strip()
    if not found:
        _refuse("--token", f"is required, or --token-file, or {PULL_TOKEN_VARIABLE}")
    if not found.isascii() or not found.isprintable() or " " in found:
        _refuse("--token", "must be one word of printable ASCII")
    return found


def _access(  # noqa: PLR0913 # one option each
    system: "System", url: str, token: str, ca: Path | None, tries: int, *, cookie: bool
) -> "Access":
    from server.commands.pulling.source import Access  # noqa: PLC0415 # as above

    parts = _url(url)
    if cookie and ";" in token:
        _refuse("--token", "must not have a semicolon in a cookie")
    if parts.scheme == "http" and not _is_here(parts.hostname or ""):
        typer.echo("warning: --from: http:// sends the token and the records in the clear", err=True)
    if ca is not None:
        try:
            ssl.create_default_context(cafile=ca)
        except OSError as error:
            raise SettingsError(f"--ca: {ca}: {error.strerror or 'must be a PEM file'}") from None
    return Access(url.rstrip("/"), system.headers(token, cookie=cookie), ca, tries)


def _url(url: str) -> SplitResult:
    rule = "must be http:// or https://, a host, and a path if it needs one"
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0
    except ValueError:
        _refuse("--from", rule)
    if wrong or not url.isprintable() or " " in url or "?" in url or "#" in url or "@" in parts.netloc:
        _refuse("--from", f"{rule}; no credentials, query or fragment")
    return parts


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _store_of(settings: Settings) -> dict[str, Any]:
    """Return what tells a store from others, without its credentials."""
    return {"hosts": hosts_of(settings.mongodb_uri.get_secret_value()), "database": settings.mongodb_database}
