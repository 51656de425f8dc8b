"""The typed gRPC services: one thin module a service, over shared reads and writes."""
