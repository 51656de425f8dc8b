"""The command line: `rollcall health`."""

from typing import Annotated

import typer

from server.settings import load

_SECONDS = 3.0


def check_health(
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Ask for the process alone, whether or not MongoDB answers.")
    ] = False,
    server_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What its certificate must name; ROLLCALL_GRPC_HOST by default, or if that is 0.0.0.0 any.",
        ),
    ] = None,
) -> None:
    """Ask the gRPC server of this machine whether it serves: the exit status is 0 if it does, else 1.

    It is the server at ROLLCALL_GRPC_PORT. Where that speaks TLS, the probe has the files of Envoy:
    ROLLCALL_ENVOY_TLS_CA, ROLLCALL_ENVOY_TLS_CERT and ROLLCALL_ENVOY_TLS_KEY.
    """
    from server import health  # noqa: PLC0415 # gRPC is slow to load for the other commands

    if not health.is_serving(load(), _SECONDS, health.LIVE if live else "", server_name):
        typer.echo("rollcall: the server does not serve", err=True)
        raise typer.Exit(1)
