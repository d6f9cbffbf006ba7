"""A shuffled order of n things that needs no list: position in, thing out.

An epoch over millions of samples, dealt out to hundreds of lanes in many processes, must be one order that all agree
on. A shuffled list in every process would cost memory and seconds; this is a keyed bijection instead (a Feistel network
of four rounds over the next even power of two, walked until the value lies below n: Black and Rogaway, 2002), so each
position is computed by itself in about a microsecond. It is a shuffle for loads, not for secrets. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_ROUNDS: Final = 4
_MIXER: Final = 0x9E3779B97F4A7C15
_WORD: Final = (1 << 64) - 1


class Permutation:
    """An order of ``count`` things; ``choose`` says which of the many."""

    __slots__ = ("_count", "_half", "_keys", "_mask")

    def __init__(self, count: int, choose: Callable[[int], int]) -> None:
        if count < 1:
            raise ValueError("nothing to put in order")
        self._count = count
        self._half = max((count - 1).bit_length() + 1, 2) // 2
        self._mask = (1 << self._half) - 1
        self._keys = tuple(choose(1 << 32) for _ in range(_ROUNDS))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, position: int) -> int:
        """Which thing is at ``position``. Raises IndexError outside [0, count)."""
        if not 0 <= position < self._count:
            raise IndexError(position)
        value = self._step(position)
        while value >= self._count:  # at most four times on the average: the network spans less than 4n values
            value = self._step(value)
        return value

    def _step(self, value: int) -> int:
        half, mask = self._half, self._mask
        left, right = value >> half, value & mask
        for key in self._keys:
            mixed = ((right + key) * _MIXER) & _WORD
            left, right = right, left ^ ((mixed ^ (mixed >> 29)) >> 16 & mask)
        return left << half | right
