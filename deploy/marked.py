"""Parts of a document that are written by a program, between two comments."""


def replaced(document: str, begin: str, end: str, text: str) -> str:
    """Return a document with a text between two markers, each on a line of its own; without them, exit."""
    before, opened, rest = document.partition(f"{begin}\n")
    _, closed, after = rest.partition(f"{end}\n")
    if not (opened and closed):
        raise SystemExit(f"there is no {begin} with its {end}")
    return f"{before}{opened}\n{text}\n{closed}{after}"
