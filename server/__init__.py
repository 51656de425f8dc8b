"""rollcall: one gRPC service that lists the sessions of four systems."""
