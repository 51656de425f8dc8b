"""The README's tables of throughput and cost: some rows and columns of RESULTS.md."""

from collections.abc import Iterator

from bench.contestants import GRPC, PAGES, REST, TWIN
from deploy.marked import replaced

BEGIN, END = "<!-- speed: `make bench` writes these tables -->", "<!-- /speed -->"
RATE, CPU = 1, 5
"""Where a row of RESULTS.md has its requests a second, and its milliseconds of CPU time a request."""


def renewed(document: str, results: str) -> str:
    """Return a document with the tables of a text like RESULTS.md between the markers."""
    return replaced(document, BEGIN, END, "\n".join(_table(results, protocol) for protocol in (REST, GRPC)))


def _table(results: str, protocol: str) -> str:
    columns = "".join(f" page of {page}: requests/s | CPU ms a request |" for page in PAGES)
    lines = [f"| {protocol} |{columns}", f"|---|{'--:|--:|' * len(PAGES)}"]
    for rows in zip(*(_rows(results, f"{protocol}, page of {page}") for page in PAGES), strict=True):
        (name,) = {row[0] for row in rows}
        if TWIN not in name:
            lines.append(f"| {name} | " + " | ".join(f"{row[RATE]} | {row[CPU]}" for row in rows) + " |")
    return "\n".join(lines) + "\n"


def _rows(results: str, title: str) -> Iterator[list[str]]:
    _, _, after = results.partition(f"### {title}\n\n")
    for line in after.partition("\n\n")[0].splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]
