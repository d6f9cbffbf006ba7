"""Limits with names. Whatever could grow without end draws on a budget: fills, queues, relays, connections.

A budget counts; it neither waits nor refuses by itself. The caller that cannot ``take`` waits, refuses or serves
through, and says which. What was taken is given back exactly once, in a ``finally``.
"""

from __future__ import annotations

from collections.abc import Iterator


class Budget:
    """At most ``limit`` of something at once; ``name`` is how settings, gauges and errors call it."""

    __slots__ = ("limit", "name", "used")

    def __init__(self, name: str, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"budget {name} needs a limit of at least 1, not {limit}")
        self.name = name
        self.limit = limit
        self.used = 0

    def take(self, amount: int = 1) -> bool:
        """Take ``amount`` if it fits; whether it did. An amount over the whole limit fits when nothing is taken."""
        if self.used and self.used + amount > self.limit:
            return False
        self.used += amount
        return True

    def give(self, amount: int = 1) -> None:
        """Give back what was taken."""
        self.used -= amount

    def check(self) -> Iterator[str]:
        """What is wrong, one line each."""
        if self.used < 0:
            yield f"budget {self.name} was given back {-self.used} more than was taken"
