"""Fills: bringing one chunk from upstream into the owner's store, at most one in flight per chunk."""
