"""`rollcall pull`: copies a live system's list through its own documented API."""
