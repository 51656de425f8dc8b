"""`python -m bench`: makes the data, starts everything, measures in shuffled rounds, writes the tables."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random

import orjson

from bench import checks, contestants, data, load, machine, report, store, summary
from bench.contestants import GRPC, PAGES, REST, Contestant
from bench.load import CONNECTIONS, Call, Load, Owner
from bench.parts import FOLDER, ROOT, BenchError, Part, Parts, say, settings_of, start_mongod
from server.commands import tokens
from server.records.caller import Caller

RESULTS = ROOT / "bench" / "RESULTS.md"
README = ROOT / "README.md"
SEED = 7
CHECKED_OWNERS = 5
FEWEST_CALLS = 20
"""Of a connection, in a wave."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure."""

    size: data.Size
    rounds: int
    seconds: int
    waves: int
    warm_seconds: int


FULL = Plan(data.Size(2000), rounds=8, seconds=3, waves=3, warm_seconds=2)
QUICK = Plan(data.Size(200), rounds=2, seconds=1, waves=1, warm_seconds=0)


class Bench:
    """Everything running and checked; measures one server at a time."""

    def __init__(self, plan: Plan, rows: Sequence[Contestant], owners: Sequence[Owner], folder: Path) -> None:
        self._plan = plan
        self._rows = rows
        self._owners = owners
        self._folder = folder
        self._dice = Random(SEED)
        self._rates: dict[tuple[str, int], float] = {}
        self._owners_file = folder / "owners"
        self._owners_file.write_text("".join(f"{owner.name} {owner.token}\n" for owner in owners))

    def check(self) -> None:
        """Raise BenchError unless every server answers the same items."""
        step = max(1, len(self._owners) // CHECKED_OWNERS)
        chosen = {owner.name: owner for owner in self._owners[::step]}
        bodies: dict[str, list[data.Document]] = {name: [] for name in chosen}
        for name, body in data.bodies(self._plan.size):
            if name in bodies:
                bodies[name].insert(0, body)
        for protocol in (REST, GRPC):
            for name, owner in chosen.items():
                expected = [checks.expected_items(protocol, body, name) for body in bodies[name]]
                for row in self._rows:
                    for page in row.pages if row.protocol == protocol else ():
                        checks.check(row, owner, page, expected)

    def run(self) -> list[report.Run]:
        """Return all rounds' runs."""
        turns = [(row, page) for row in self._rows for page in row.pages]
        for row, page in turns:
            self._warm(row, page)
        runs = []
        for number in range(self._plan.rounds):
            say(f"round {number + 1} of {self._plan.rounds}")
            self._dice.shuffle(turns)
            runs += [self._measure(row, page) for row, page in turns]
        order = {(row.protocol, row.name): place for place, row in enumerate(self._rows)}
        return sorted(runs, key=lambda run: order[run.protocol, run.name])

    def _warm(self, row: Contestant, page: int) -> None:
        if row.protocol == GRPC:
            self._rates[row.name, page] = CONNECTIONS * 20
            self._prepared(row, page, 1, waves=1)()
        elif self._plan.warm_seconds:
            self._prepared(row, page, self._plan.warm_seconds, waves=1)()

    def _measure(self, row: Contestant, page: int) -> report.Run:
        load_it = self._prepared(row, page, self._plan.seconds, self._plan.waves)
        before = {name: part.cpu_seconds() for name, part in row.parts.items()}
        found = load_it()
        cpu = {
            name: (part.cpu_seconds() - before[name]) * 1000 / found.requests
            for name, part in row.parts.items()
        }
        return report.Run(row.name, row.protocol, row.role, page, found.rate, found.p50, found.p99, cpu)

    def _prepared(self, row: Contestant, page: int, seconds: int, waves: int) -> Callable[[], Load]:
        """Return what loads a server for some seconds; gRPC is first asked for the answers' lengths."""
        for part in row.parts.values():
            part.check()
        if row.protocol == REST:
            first = self._dice.randrange(len(self._owners))
            return lambda: load.rest(row.port, checks.path(page), self._owners_file, first, seconds)
        owners = self._dice.sample(self._owners, CONNECTIONS * waves)
        answers = checks.raw_grpc(row.port, owners, page)
        lengths = {owner.name: len(answer) for owner, answer in zip(owners, answers, strict=True)}
        call = Call(checks.METHOD, checks.request(page), lengths)
        each = max(FEWEST_CALLS, math.ceil(self._rates[row.name, page] * seconds / len(owners)))
        groups = [owners[start : start + CONNECTIONS] for start in range(0, len(owners), CONNECTIONS)]

        def load_it() -> Load:
            found = load.grpc(row.port, call, groups, each, self._folder)
            self._rates[row.name, page] = found.rate
            return found

        return load_it


def measure(plan: Plan) -> str:
    """Measure, and return the report."""
    machine.install_tools()
    contestants.install_node_peers()
    logs = FOLDER / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    parts = Parts(logs)
    try:
        return _measured(plan, parts)
    finally:
        parts.close()


def _measured(plan: Plan, parts: Parts) -> str:
    mongo, mongo_port = filled(plan, parts)
    settings, _ = settings_of(mongo_port, contestants.DATABASE)
    owners = [
        Owner(name, tokens.sign(settings, Caller(sub=name, tenant=name), timedelta(hours=6)))
        for name in plan.size.names()
    ]
    say("starting every server")
    rows = contestants.start_all(parts, mongo, mongo_port, _bodies(plan.size))
    bench = Bench(plan, rows, owners, FOLDER)
    say("checking that all answer the same")
    bench.check()
    runs = bench.run()
    say("checking once more")
    bench.check()
    (FOLDER / "runs.json").write_text(json.dumps([asdict(run) for run in runs], indent=1))
    return _report(plan, runs)


def filled(plan: Plan, parts: Parts) -> tuple[Part, int]:
    """Start mongod with all data in it, made unless it is there from a run before."""
    folder = FOLDER / f"mongo-{plan.size.owners}"
    stamp = folder.with_suffix(".loaded")
    mongo, port = start_mongod(parts, folder)
    wanted = store.fingerprint(plan.size)
    if not stamp.exists() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        say(f"loading {plan.size.records:,} sessions")
        say(f"rollcall import took in {store.fill(port, plan.size):,.0f} records/s")
        stamp.write_text(wanted)
    store.warm(port, contestants.DATABASE)
    return mongo, port


def _bodies(size: data.Size) -> Path:
    """Return the folder of the canned bodies: the first owner's pages."""
    folder = FOLDER / "bodies"
    folder.mkdir(exist_ok=True)
    newest_first = [body for _, body in islice(data.bodies(size), data.PER_OWNER)][::-1]
    for page in PAGES:
        (folder / f"{page}.json").write_bytes(orjson.dumps({"items": newest_first[:page]}))
    return folder


def _report(plan: Plan, runs: Sequence[report.Run]) -> str:
    tables = report.tables(runs)
    versions = ", ".join(f"{name} {found}" for name, found in machine.versions().items())
    return "\n\n".join(
        (
            "# Results",
            f"Written by `make bench` on {datetime.now(UTC):%F}; [README.md](README.md) says how to read it.",
            _conditions(plan),
            f"- Machine: {machine.description()}\n- Versions: {versions}",
            *(table.markdown() for table in tables),
            "## What was promised",
            report.targets(tables),
            "## Noise",
            f"The same server twice, the second against the first: {report.noise(tables)}.",
        )
    )


def _conditions(plan: Plan) -> str:
    return (
        f"{plan.size.records:,} sessions of {plan.size.owners:,} owners, {load.CONNECTIONS} connections, "
        f"medians of {plan.rounds} shuffled rounds of {plan.seconds} s."
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two short rounds over a tenth of the data")
    plan = QUICK if parser.parse_args().quick else FULL
    try:
        text = measure(plan)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    results = FOLDER / "RESULTS.md" if plan is QUICK else RESULTS
    results.write_text(text + "\n")
    if results == RESULTS:
        README.write_text(summary.renewed(README.read_text(), text))
    print(text)
    say(f"written to {results.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
