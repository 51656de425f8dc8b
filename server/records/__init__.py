"""What is stored: one module a kind, from its contract's JSON to its stored record."""
