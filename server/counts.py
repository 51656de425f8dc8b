"""What happens often, counted where it happens, for the price of an addition; read by the metrics."""

from collections import Counter

Count = tuple[str, ...]
"""What is counted: one of the names here, then its labels."""

LOOKUPS = "credential_lookups"
"""Labels: which cache; `hit` or `miss`."""
LIMITED = "limited_calls"
"""Label: whose limit, `caller` or `tenant`."""

COUNTS: tuple[Count, ...] = (
    *((LOOKUPS, cache, result) for cache in ("jwt", "opaque") for result in ("hit", "miss")),
    *((LIMITED, whose) for whose in ("caller", "tenant")),
)
"""All that there are."""

counts: Counter[Count] = Counter()
"""This process's, by its event loop alone."""
