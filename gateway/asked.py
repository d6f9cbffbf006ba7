"""A request to upstream that is on its way before anybody waits for its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import SplitResult

from cache.ports import Beginning
from gateway.exchange import Exchange
from gateway.wires.pool import Wires
from gateway.wires.wire import Wire


@dataclass(slots=True)
class Said:
    """A request that was sent: on which wire, which is to be given back."""

    wires: Wires
    place: SplitResult
    wire: Wire
    head: bytes

    def give(self) -> None:
        """Give the wire back."""
        self.wires.give(self.place, self.wire)


class Begun:
    """A question whose answer is a beginning, and its context. Whoever is ended before he enters leaves it behind."""

    __slots__ = ("_beginning", "_exchange", "_said")

    def __init__(
        self, said: Said | None, beginning: Callable[[Said | None], Awaitable[tuple[Exchange, Beginning]]]
    ) -> None:
        self._said, self._beginning = said, beginning
        self._exchange: Exchange | None = None

    async def __aenter__(self) -> Beginning:
        said, self._said = self._said, None
        self._exchange, beginning = await self._beginning(said)
        return beginning

    async def __aexit__(self, *_: object) -> None:
        if self._exchange is not None:
            self._exchange.close()

    def __del__(self) -> None:
        if self._said is not None:
            self._said.give()
