"""The command `rollcall`, which Ctrl-C ends from its first moment to its last without a traceback."""

import os
import signal

INTERRUPTED = 130


def main() -> None:
    """Run the command line.

    While it loads, Ctrl-C is the system's to act on: there is nothing to tidy up, and an exception of
    Python's would be lost in a callback of an import, after which the command would go on.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored, as `&` in a script does
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from server.cli import app  # noqa: PLC0415 # slow to load

    try:
        app()
    except SystemExit as end:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # All is done, and told.
        if end.code != INTERRUPTED:
            raise
        # Threads that wait for MongoDB, and output that nobody reads, would only hold up the end.
        os._exit(INTERRUPTED)
