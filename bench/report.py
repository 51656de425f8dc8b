"""From runs to tables: medians over rounds, ratios, and what was promised."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.contestants import (
    CONTROL,
    FASTAPI_MODEL,
    GRPC,
    LIMIT,
    MOTOR,
    PAGES,
    PEER,
    PYMONGO,
    REST,
    TWIN,
    TWO_WORKERS,
)

PARTS = ("server", "envoy", "mongod")


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement of one server."""

    name: str
    protocol: str
    role: str
    page: int
    rate: float
    p50: float
    p99: float
    cpu: Mapping[str, float]
    """Milliseconds a request, by part."""


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over the runs of one server on one page."""

    name: str
    role: str
    rate: float
    p50: float
    p99: float
    cpu: Mapping[str, float]
    total: float


class Table:
    """One protocol and one size of page."""

    def __init__(self, runs: Iterable[Run], protocol: str, page: int) -> None:
        self.title = f"{protocol}, page of {page}"
        chosen = [run for run in runs if (run.protocol, run.page) == (protocol, page)]
        names = dict.fromkeys(run.name for run in chosen)
        self.rows = {name: _row([run for run in chosen if run.name == name]) for name in names}

    @property
    def fastest_peer(self) -> Row:
        """The peer with the most requests a second."""
        return max(self._of(PEER), key=lambda row: row.rate)

    @property
    def thriftiest_peer(self) -> Row:
        """The peer with the least CPU time a request."""
        return min(self._of(PEER), key=lambda row: row.total)

    @property
    def limit(self) -> Row:
        """What the table is measured against."""
        return self._of(LIMIT)[0]

    def _of(self, role: str) -> list[Row]:
        return [row for row in self.rows.values() if row.role == role]

    def markdown(self) -> str:
        """Return the table."""
        columns = ("requests/s", "× fastest peer", "p50 ms", "p99 ms", "CPU ms a request", "× limit", *PARTS)
        lines = [f"### {self.title}", "", f"| | {' | '.join(columns)} |", f"|---|{'--:|' * len(columns)}"]
        for row in self.rows.values():
            parts = " | ".join(f"{row.cpu[part]:.2f}" if part in row.cpu else "–" for part in PARTS)
            name = f"**{row.name}**" if row.role not in {PEER, LIMIT} else row.name
            faster, dearer = row.rate / self.fastest_peer.rate, row.total / self.limit.total
            lines.append(
                f"| {name} | {row.rate:,.0f} | {faster:.2f} | {row.p50:.1f} | {row.p99:.1f} "
                f"| {row.total:.2f} | {dearer:.2f} | {parts} |"
            )
        return "\n".join(lines)


def _row(runs: Sequence[Run]) -> Row:
    def middle(value: Callable[[Run], float]) -> float:
        return median(map(value, runs))

    cpu = {part: median(run.cpu[part] for run in runs) for part in PARTS if part in runs[0].cpu}
    return Row(
        runs[0].name,
        runs[0].role,
        middle(lambda run: run.rate),
        middle(lambda run: run.p50),
        middle(lambda run: run.p99),
        cpu,
        middle(lambda run: sum(run.cpu.values())),
    )


def tables(runs: Sequence[Run]) -> list[Table]:
    """Return a table a protocol and page."""
    return [Table(runs, protocol, page) for protocol in (REST, GRPC) for page in PAGES]


def targets(all_tables: Sequence[Table]) -> str:
    """Return what the service promises to be, beside what it was."""
    rest20, rest100, grpc20, grpc100 = all_tables
    lines = ["| promise | wanted | motor | pymongo |", "|---|--:|--:|--:|"]

    def add(text: str, wanted: str, ok: Callable[[float], bool], *values: float | None) -> None:
        cells = ["–" if each is None else f"{each:.2f} {'✓' if ok(each) else '✗'}" for each in values]
        lines.append(f"| {text} | {wanted} | {' | '.join(cells)} |")

    def rates(table: Table, other: Row) -> list[float]:
        return [table.rows[name].rate / other.rate for name in (MOTOR, PYMONGO)]

    def costs(table: Table, other: Row) -> list[float]:
        return [table.rows[name].total / other.total for name in (MOTOR, PYMONGO)]

    add(
        "REST 100: throughput × FastAPI with response_model",
        "≥ 3",
        lambda found: found >= 3,
        *rates(rest100, rest100.rows[FASTAPI_MODEL]),
    )
    add(
        "REST 100: throughput × fastest peer",
        "≥ 1.8",
        lambda found: found >= 1.8,
        *rates(rest100, rest100.fastest_peer),
    )
    add(
        "REST 100: CPU × thriftiest peer",
        "< 1",
        lambda found: found < 1,
        *costs(rest100, rest100.thriftiest_peer),
    )
    add(
        "REST 20: throughput × FastAPI with response_model",
        "≥ 1.4",
        lambda found: found >= 1.4,
        *rates(rest20, rest20.rows[FASTAPI_MODEL]),
    )
    add(
        "REST 20: throughput × fastest peer",
        "≥ 1",
        lambda found: found >= 1,
        None,
        rates(rest20, rest20.fastest_peer)[1],
    )
    add(
        "gRPC 100: throughput × fastest peer",
        "≥ 4",
        lambda found: found >= 4,
        *rates(grpc100, grpc100.fastest_peer),
    )
    add(
        "gRPC 20: throughput × fastest peer",
        "≥ 2.2",
        lambda found: found >= 2.2,
        *rates(grpc20, grpc20.fastest_peer),
    )
    motor, pymongo = costs(grpc100, grpc100.limit)
    add("gRPC 100: CPU × limit", "≤ 2.3", lambda found: found <= 2.3, motor, None)
    add("gRPC 100: CPU × limit", "≤ 1.8", lambda found: found <= 1.8, None, pymongo)
    two = grpc20.rows[TWO_WORKERS].rate / grpc20.rows[MOTOR].rate
    add("gRPC 20: throughput of two workers × one", "≥ 1.3", lambda found: found >= 1.3, two, None)
    return "\n".join(lines)


def noise(all_tables: Sequence[Table]) -> str:
    """Return how far two identical servers are apart."""
    cells = [
        f"{table.title}: {table.rows[TWIN].rate / table.rows[MOTOR].rate:.2f} (throughput), "
        f"{table.rows[TWIN].total / table.rows[MOTOR].total:.2f} (CPU)"
        for table in all_tables
        if table.rows[TWIN].role == CONTROL
    ]
    return "; ".join(cells)
