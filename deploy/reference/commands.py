"""The page of the command line: what `--help` of every command prints."""

from collections.abc import Iterator
from typing import Any

import typer

from deploy.reference.markdown import page
from server.cli import app

WIDTH = 100
INTRODUCTION = """
What `rollcall COMMAND --help` prints. In a checkout the command is `.venv/bin/rollcall`. The exit
status is 0 if all went well, 1 if something was refused or is not there, 2 for a wrong option or
setting, and 130 for a command that Ctrl-C has stopped.
"""


def cli() -> str:
    """Return the page."""
    command = typer.main.get_command(app)
    parts = [INTRODUCTION]
    for context in _contexts(command, None):
        help_text = context.command.get_help(context)
        parts.append(f"## {context.command_path}\n\n```text\n{help_text.strip()}\n```")
    return page("The command line", *parts)


def _contexts(command: Any, parent: typer.Context | None) -> Iterator[typer.Context]:
    """Yield a command and all below it."""
    context = typer.Context(command, parent, command.name, terminal_width=WIDTH, color=False)
    yield context
    for each in getattr(command, "commands", {}).values():
        yield from _contexts(each, context)
