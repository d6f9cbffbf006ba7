"""A crowd: those who wait for one answer, each a call and no task, to be let go a few at a time. One may be a crowd.

Whatever 256 readers of one cold object do when its answer comes, they would do in one turn of the loop, and everybody
else (the fill that brings their bytes among them) would wait for the last one. Sans-IO: whoever lets a crowd go takes
its turns.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Final

from cache.pieces import FilePiece, MemoryPiece
from cache.versions import Entry

TURN: Final = 16


@dataclass(frozen=True, slots=True)
class Arrival:
    """The answer: what the key holds, and (None: not yet) its whole first chunk, which may be sent in this turn.

    ``early``: as much of that chunk as has come, in memory, instead. ``shared``: what one of those who are called has
    made of it for the next, under all that decided it.
    """

    entry: Entry
    chunk: FilePiece | None
    early: MemoryPiece | None = None
    shared: dict[Hashable, object] = field(default_factory=dict, compare=False)

    def seen(self) -> Arrival:
        """The same at the beginning of another turn of the loop: without the chunk, if that may not be sent now."""
        chunk = self.chunk
        if chunk is None or chunk.reader.ready(chunk.offset, chunk.offset + chunk.length):
            return self
        return Arrival(self.entry, None, shared=self.shared)


Call = Callable[[Arrival | None], None]  # None: there was no answer of use; it raises nothing


class Waiter:
    """A place in a crowd."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call: Call | None = call

    def cancel(self) -> None:
        """Leave it: nobody is called."""
        self._call = None

    def go(self, arrival: Arrival | None) -> None:
        """Make the call, once."""
        call, self._call = self._call, None
        if call is not None:
            call(arrival)


class Crowd:
    """All who wait for one answer, in the order of their coming."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: list[Waiter] = []

    def __len__(self) -> int:
        return len(self._waiters)

    def join(self, call: Call) -> Waiter:
        """Wait with the others."""
        waiter = Waiter(call)
        self._waiters.append(waiter)
        return waiter

    def turns(self, size: int = TURN) -> Iterator[list[Waiter]]:
        """The crowd, so many at a time."""
        for first in range(0, len(self._waiters), size):
            yield self._waiters[first : first + size]
