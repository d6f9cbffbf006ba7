"""Whose slice is next: the long answers of a worker take turns, one slice in one turn of its loop.

A slice is large, since each costs a wake-up of the client beside its bytes; so no two leave in one turn of the loop,
which would keep everybody waiting whose answer is short. In between the loop looks for what has come.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """The long answers of one loop that have a slice to send, in the order in which they asked."""

    __slots__ = ("_asked", "_due")

    def __init__(self) -> None:
        self._asked: deque[Callable[[], None]] = deque()
        self._due = False

    def ask(self, push: Callable[[], None]) -> None:
        """Have ``push`` called once, in a later turn of the loop, after all who asked before."""
        self._asked.append(push)
        self._call()

    async def wait(self) -> None:
        """Wait for a turn."""
        turn = asyncio.get_running_loop().create_future()
        self.ask(lambda: None if turn.done() else turn.set_result(None))
        await turn

    def _call(self) -> None:
        if self._asked and not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._due = False
        push = self._asked.popleft()
        self._call()  # before the push, whatever comes of it
        push()
