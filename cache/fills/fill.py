"""One fill as a machine: events in, work out; no loop, socket or file.

A fill receives exactly the chunk's bytes and hands them on in batches: the first piece at once (someone waits for the
first byte), later ones when a batch is full or when the oldest byte has waited ``LINGER_S``. Within the first
``BATCH_BYTES`` a batch is full with as much as is written, for who waits; then it ends where a multiple of
``BATCH_BYTES`` does: each costs a thread's turn, and what is written large and aligned lies in large pages of memory,
from which it is sent for less.
What follows may also be received by a thread straight into the file (``poured``), which needs no batches.
It always holds that ``written <= received <= length``. Upstream may break off in mid-body: what has been received stays
valid (each request carries ``If-Match``), so the fill asks for the rest, a bounded number of times. The driver does the
work and reports back; whoever rides on the fill sees only ``written`` grow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cache.faults import Fault, UpstreamBroken, UpstreamUnreachable
from cache.versions import ByteSpan

BATCH_BYTES: Final = 1024 * 1024
POURED_FROM: Final = 256 * 1024
LINGER_S: Final = 0.01
RESUMES_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Append:
    """Write these bytes, in order, to the chunk file, then report ``written``."""

    pieces: tuple[bytes | memoryview, ...]
    length: int


@dataclass(frozen=True, slots=True)
class Seal:
    """Everything is written: make the chunk visible."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Ask upstream for this rest of the chunk (relative to the chunk)."""

    span: ByteSpan


@dataclass(frozen=True, slots=True)
class Discard:
    """Give up: drop the file and pass the fault to everyone who rides."""

    fault: Fault


class Fill:
    """The state of one fill of ``length`` bytes."""

    __slots__ = ("_batch", "_batched", "_resumes", "_since", "length", "received", "written")

    def __init__(self, length: int) -> None:
        self.length = length
        self.received = 0
        self.written = 0
        self._batch: list[bytes | memoryview] = []
        self._batched = 0
        self._since = 0.0
        self._resumes = 0

    def arrived(self, data: bytes | memoryview, now: float) -> Append | Discard | None:
        """Upstream sent a piece at monotonic time ``now``."""
        if self.received + len(data) > self.length:
            return Discard(UpstreamBroken(f"{self.received + len(data)} bytes for a chunk of {self.length}"))
        if not self._batch:
            self._since = now
        self.received += len(data)
        self._batch.append(data)
        self._batched += len(data)
        aligned = self.received - self.received % BATCH_BYTES
        if self.received < self.length and aligned > self.written:
            self._since = now
            return self._flush(keep=self.received - aligned)
        small = self.written < BATCH_BYTES and self._batched >= self.written
        due = small or self.received == self.length or now - self._since >= LINGER_S
        return self._flush() if due else None

    @property
    def pourable(self) -> bool:
        """Whether what still comes may go into the file by itself: who waits has begun, and no batch is held."""
        return not self._batch and POURED_FROM <= self.written < self.length

    def poured(self, count: int) -> None:
        """So many bytes came, and are on file."""
        self.received += count
        self.written += count

    def ended(self) -> Seal | Discard:
        """Upstream's body ended, and everything appended has been written."""
        if self.written == self.length:
            return Seal()
        return Discard(UpstreamBroken(f"{self.written} bytes for a chunk of {self.length}"))

    def broke(self, fault: Fault) -> Append | Resume | Discard:
        """Upstream failed. Flush first what has arrived, then ask for the rest if that may help."""
        if self._batch:
            return self._flush()
        may_resume = isinstance(fault, UpstreamBroken | UpstreamUnreachable) and self.written
        if not may_resume or self._resumes == RESUMES_MAX:
            return Discard(fault)
        self._resumes += 1
        return Resume(ByteSpan(self.written, self.length)) if self.written < self.length else Discard(fault)

    def _flush(self, keep: int = 0) -> Append:
        """Everything but the last ``keep`` bytes, which are a part of the last piece."""
        last = memoryview(self._batch[-1])
        split = len(last) - keep
        work = Append((*self._batch[:-1], last[:split]), self._batched - keep)
        self._batch = [last[split:]] if keep else []
        self._batched = keep
        return work

    def wrote(self, count: int) -> None:
        """An Append of ``count`` bytes is on file."""
        self.written += count
