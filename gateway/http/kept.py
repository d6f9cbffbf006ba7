"""Kept replies: what the rules made of a read, for when a regular client asks for the very same again.

A reply is kept under all that decided it: whose habit it was (``gateway/admission.py``), method and path, and the
range. Signature, freshness and bytes are looked at each time; what is spared is to parse, classify, authorise, judge
and render once more. Whatever has changed since (``Reads.again`` says so) is judged anew and kept in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.admission import Regular
from gateway.http.heads import Frame
from gateway.meter.counters import ClientMeter
from gateway.reads import Judged
from gateway.s3.habits import Shown
from gateway.s3.requests import S3Request

KEPT_MAX: Final = 8192
KEPT_STEPS_MAX: Final = 4  # of a plan: replies are many, and shall stay small


@dataclass(slots=True)
class Kept:
    """One reply but for its date, its id and its body. ``request`` is the one that it was first made for."""

    judged: Judged
    frame: Frame
    meter: ClientMeter
    operation: str
    request: S3Request


class KeptReplies:
    """The replies that a worker keeps, at most ``limit``; of too many, the oldest goes."""

    def __init__(self, limit: int = KEPT_MAX) -> None:
        self._limit = limit
        self._kept: dict[tuple[Regular, tuple[bytes, bytes]], Kept] = {}
        self._generation = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, regular: Regular, shown: Shown) -> Kept | None:
        """The reply that is kept for what ``regular`` has shown."""
        return self._kept.get((regular, regular.habit.asked(shown)))

    def keep(self, regular: Regular, shown: Shown, kept: Kept, generation: int) -> None:
        """Keep a reply, in place of an older one to the same. ``generation``: of the regulars; others' replies go."""
        if generation != self._generation:
            self._kept.clear()
            self._generation = generation
        if len(kept.judged.plan) <= KEPT_STEPS_MAX:
            if len(self._kept) >= self._limit:
                del self._kept[next(iter(self._kept))]
            self._kept[regular, regular.habit.asked(shown)] = kept
