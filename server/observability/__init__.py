"""What operators see: one log line a call, and metrics."""
