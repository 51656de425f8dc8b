"""The documented paths: one module a contract, from parameters to body or error body."""
