"""A crowd: those who wait for one answer, each a call and no task, let go a few at a time.

Whatever 256 readers of one cold object do when its answer comes, they do in one go, unless somebody takes care: the
loop turns once for all of them, and the fill that brings their bytes stands still meanwhile. So they are let go in
turns, between which everybody else has his.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cache.pieces import FilePiece
from cache.versions import Entry

TURN: Final = 16


@dataclass(frozen=True, slots=True)
class Arrival:
    """The answer: what the key holds, and (None: not yet) its whole first chunk, on file a moment ago."""

    entry: Entry
    chunk: FilePiece | None


Call = Callable[[Arrival | None], None]  # None: there was no answer of use


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
        """Wait with the others; ``call`` comes from the loop, and never before this returns."""
        waiter = Waiter(call)
        self._waiters.append(waiter)
        return waiter

    async def let_go(self, arrival: Arrival | None, turn: int = TURN) -> None:
        """Call them all, so many in one turn of the loop; when this returns, the last one was called."""
        loop = asyncio.get_running_loop()
        for first in range(0, len(self._waiters), turn):
            for waiter in self._waiters[first : first + turn]:
                loop.call_soon(waiter.go, arrival)
            await asyncio.sleep(0)
