"""The benchmark: rollcall beside its peers and its limits, on one machine, over one MongoDB."""
