"""Counters of one worker, by name, in memory that the node process may share.

The cache adds, the meter exports. A counter only grows while its worker lives (``*_now`` ones are levels and go both
ways). The memory is a run of unsigned 64-bit words, one per :class:`Count`; by default it is private to the process.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Count(IntEnum):
    """What is counted. Add at the end only: the order is the layout."""

    CHUNK_HITS_LOCAL = 0
    CHUNK_HITS_PEER = 1
    CHUNK_MISSES = 2
    CHUNK_COALESCED = 3
    FILLS_STARTED = 4
    FILLS_SEALED = 5
    FILLS_FAILED = 6
    FILL_BYTES = 7
    FILLS_NOW = 8
    CATALOG_HITS = 9
    CATALOG_MISSES = 10
    CATALOG_REVALIDATIONS = 11
    UPSTREAM_HEADS = 12
    UPSTREAM_GETS = 13
    UPSTREAM_FORWARDS = 14
    UPSTREAM_ERRORS = 15
    UPSTREAM_BYTES = 16
    DIRECT_READS = 17
    PEER_RELAYS = 18
    PEER_ERRORS = 19
    PEER_BYTES_IN = 20
    PEER_BYTES_OUT = 21
    DISK_ERRORS = 22
    DISK_DAMAGED = 23
    UNITS_VERIFIED = 24
    EVICTED_CHUNKS = 25
    EVICTED_BYTES = 26
    INVALIDATIONS = 27
    CONNECTIONS_NOW = 28
    CONNECTIONS = 29
    LANE_ANSWERS = 30
    LOOP_LAG_US_MAX = 31
    GLIMPSES = 32
    PEER_COPIES = 33


class Tally:
    """The counters. ``words`` is a writable memoryview of format ``Q`` with at least ``len(Count)`` items."""

    __slots__ = ("words",)

    BYTES: Final = 8 * 64

    def __init__(self, words: memoryview | None = None) -> None:
        self.words = memoryview(bytearray(self.BYTES)).cast("Q") if words is None else words

    def add(self, count: Count, amount: int = 1) -> None:
        """Add to a counter (or take from a level, with a negative amount)."""
        self.words[count] += amount

    def read(self) -> dict[str, int]:
        """Every counter by its lower-case name."""
        return {count.name.lower(): self.words[count] for count in Count}
