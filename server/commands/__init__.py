"""What the commands of `rollcall` do."""
