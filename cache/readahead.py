"""How many chunks a cold sequential read keeps under way: narrow first, wider while it stays cold.

A read that finds its first chunk in the store asks for nothing ahead. Each chunk that had to be brought in doubles the
window, up to the limit; each one found halves it. So a short read costs one fill, and a long cold one soon keeps the
limit in flight.
"""

from __future__ import annotations


class Window:
    """The window of one read: how many chunks beyond the current one should be under way."""

    __slots__ = ("_limit", "ahead")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.ahead = min(1, limit)

    def passed(self, *, cold: bool) -> None:
        """A chunk has been read; ``cold``: it had to be brought in."""
        self.ahead = min(max(1, self.ahead * 2), self._limit) if cold else self.ahead // 2
