"""MongoDB: the only room that knows a driver."""
