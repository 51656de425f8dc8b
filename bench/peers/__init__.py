"""Servers that answer the same list: each as its own documentation would write it, and the limits."""
