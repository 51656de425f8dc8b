"""Progress bars: on a terminal's stderr, and nowhere else."""

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn


def bar(*columns: ProgressColumn) -> Progress:
    """Return a progress bar that shows `columns`, and how long it will take."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
