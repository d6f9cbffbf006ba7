"""Servers that a comparison starts for itself: each a context that yields where it listens and which process it is."""
