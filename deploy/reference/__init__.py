"""The reference pages under docs/, written from what the code says."""
