"""What PromQL queries ask for, and whether a server or Envoy exposes it."""

import re
from collections.abc import Iterator
from typing import Any

import grpc
import promql_parser
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

OF_PROMETHEUS = {"job", "instance"}
"""Labels that Prometheus adds when it scrapes."""
UNSET = {"rollcall_certificate_expiry_timestamp_seconds": {"certificate"}}
"""Labels of what has no value in a service without TLS."""
CODES = {code.name for code in grpc.StatusCode}

Exposed = dict[str, dict[str, set[str]]]
"""Metrics, their labels, and the values that these have."""


def exposed(text: str) -> Exposed:
    """What a scrape has."""
    found: Exposed = {name: {label: set() for label in labels} for name, labels in UNSET.items()}
    for sample in samples(text):
        labels = found.setdefault(sample.name, {})
        for label, value in sample.labels.items():
            labels.setdefault(label, set()).add(value)
    return found


def samples(text: str) -> Iterator[Sample]:
    """Yield what a scrape has under the names that it has in Prometheus."""
    # The parser would add _total to the names of Envoy's counters.
    untyped = re.sub(r"^(# TYPE \S+) counter$", r"\1 untyped", text, flags=re.MULTILINE)
    for family in text_string_to_metric_families(untyped):
        yield from family.samples


def unknown(query: str, known: Exposed) -> list[str]:
    """Return what a query asks for that is not there."""
    tree: Any = promql_parser.parse(query)
    selectors = list(_selectors(tree))
    problems = [problem for selector in selectors for problem in _unmatched(selector, known)]
    labels = set().union(*(known.get(str(selector.name), {}) for selector in selectors)) | OF_PROMETHEUS
    return problems + [f"by {label}" for label in _grouped(tree) if label not in labels]


def _unmatched(selector: Any, known: Exposed) -> Iterator[str]:
    name = str(selector.name)
    if name not in known:
        yield name
        return
    for matcher in selector.matchers.matchers:
        if matcher.name in OF_PROMETHEUS:
            continue
        values = known[name].get(matcher.name)
        if values is None:
            yield f"{name}: {matcher.name}"
            continue
        possible = CODES if matcher.name == "code" else values
        if not any(re.fullmatch(matcher.value, value) for value in possible):
            yield f"{name}: {matcher.name}={matcher.value}"


def _parts(node: Any) -> Iterator[Any]:
    yield node
    for name in ("lhs", "rhs", "expr", "vector_selector", "param", "args"):
        below = getattr(node, name, None)
        if below is not None:
            for part in below if isinstance(below, list) else [below]:
                yield from _parts(part)


def _selectors(tree: Any) -> Iterator[Any]:
    return (node for node in _parts(tree) if isinstance(node, promql_parser.VectorSelector))


def _grouped(tree: Any) -> set[str]:
    """Return the labels by which a query sums up; `le` is a bucket's."""
    modifiers = (getattr(node, "modifier", None) for node in _parts(tree) if hasattr(node, "op"))
    return {label for modifier in modifiers for label in getattr(modifier, "labels", None) or ()}
