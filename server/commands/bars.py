"""Progress bars, on a terminal's stderr and nowhere else, and the lines above them."""

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn


def printable(text: str) -> str:
    """Return a text that does not command the terminal, whoever wrote it."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def tell(progress: Progress, text: str) -> None:
    """Print a line above the bar, as it is."""
    progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


def bar(*columns: ProgressColumn, hidden: bool = False) -> Progress:
    """Return a progress bar that shows `columns`, and how long it will take."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=hidden or not console.is_terminal,
    )
