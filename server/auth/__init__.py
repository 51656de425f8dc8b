"""From a credential to a verified Caller."""
