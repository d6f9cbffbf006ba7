"""A comparison in interleaved rounds, as values: what each server did in each round, medians, and ratios.

On a noisy machine single figures drift by tens of percent within minutes, ratios of neighbours much less. So every
round measures all contenders one after the other, in an order that turns with each round, and the ratio is the median
of the ratios within the rounds (paired), never a ratio of two medians. The spread beside it is the smallest and the
largest of them. Work is requests and bytes per second of the server's CPU time. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec

from bench.result import Latency, Machine

FORMAT: Final = 1


class Sample(msgspec.Struct, frozen=True):
    """One contender in one round. ``cpu_s``: CPU seconds of the server's processes, ``user_s`` of them in user mode."""

    contender: str
    object_bytes: int
    round: int
    requests: int
    bytes: int
    failed: int
    wall_s: float
    cpu_s: float
    user_s: float
    latency: Latency

    @property
    def requests_per_cpu_s(self) -> float:
        """Requests per CPU second."""
        return self.requests / self.cpu_s if self.cpu_s > 0 else 0.0

    @property
    def gb_per_cpu_s(self) -> float:
        """10⁹ bytes per CPU second."""
        return self.bytes / self.cpu_s / 1e9 if self.cpu_s > 0 else 0.0

    @property
    def requests_per_s(self) -> float:
        """Requests per second of wall-clock time."""
        return self.requests / self.wall_s

    @property
    def gb_per_s(self) -> float:
        """10⁹ bytes per second of wall-clock time."""
        return self.bytes / self.wall_s / 1e9

    @property
    def busy(self) -> float:
        """The server's CPU time over wall-clock time; 1.0: one core all the time."""
        return self.cpu_s / self.wall_s


class Ratio(msgspec.Struct, frozen=True):
    """``first`` over ``second`` in work per CPU second, paired by round: the median, and the extremes."""

    median: float
    smallest: float
    largest: float


class Row(msgspec.Struct, frozen=True):
    """One contender at one size: medians over its rounds. ``ratio`` to the reference; None for itself."""

    contender: str
    object_bytes: int
    requests_per_cpu_s: float
    gb_per_cpu_s: float
    requests_per_s: float
    gb_per_s: float
    busy: float
    user_share: float
    p50_ms: float
    p99_ms: float
    failed: int
    ratio: Ratio | None


class Comparison(msgspec.Struct, frozen=True):
    """A whole comparison: the JSON file. ``duration_s``: of one sample; ``reference``: whom ratios are to."""

    format: int
    started: str
    machine: Machine
    server_cpus: tuple[int, ...]
    client_cpus: tuple[int, ...]
    concurrent: int
    duration_s: float
    rounds: int
    reference: str
    versions: dict[str, str]
    rows: list[Row]
    samples: list[Sample]


def render_json(comparison: Comparison) -> bytes:
    """The comparison as an indented JSON document."""
    return msgspec.json.format(msgspec.json.encode(comparison), indent=2) + b"\n"


def order_of(contenders: Sequence[str], turn: int) -> list[str]:
    """The order of a round: who goes first turns with every round."""
    first = turn % len(contenders)
    return [*contenders[first:], *contenders[:first]]


def summarise(samples: Sequence[Sample], reference: str) -> list[Row]:
    """A row per size and contender, in the order in which they first appear; sizes ascend."""
    sizes = sorted({sample.object_bytes for sample in samples})
    names = list(dict.fromkeys(sample.contender for sample in samples))
    return [_row(samples, name, size, reference) for size in sizes for name in sorted(names, key=reference.__eq__)]


def _row(samples: Sequence[Sample], name: str, size: int, reference: str) -> Row:
    mine = [sample for sample in samples if (sample.contender, sample.object_bytes) == (name, size)]
    theirs = {s.round: s for s in samples if (s.contender, s.object_bytes) == (reference, size)}
    return Row(
        contender=name,
        object_bytes=size,
        requests_per_cpu_s=median(sample.requests_per_cpu_s for sample in mine),
        gb_per_cpu_s=median(sample.gb_per_cpu_s for sample in mine),
        requests_per_s=median(sample.requests_per_s for sample in mine),
        gb_per_s=median(sample.gb_per_s for sample in mine),
        busy=median(sample.busy for sample in mine),
        user_share=median(min(sample.user_s / sample.cpu_s, 1.0) if sample.cpu_s > 0 else 0.0 for sample in mine),
        p50_ms=median(sample.latency.p50_ms for sample in mine),
        p99_ms=median(sample.latency.p99_ms for sample in mine),
        failed=sum(sample.failed for sample in mine),
        ratio=None if name == reference else _ratio(mine, theirs),
    )


def _ratio(mine: Sequence[Sample], theirs: dict[int, Sample]) -> Ratio | None:
    ratios = [
        sample.requests_per_cpu_s / theirs[sample.round].requests_per_cpu_s
        for sample in mine
        if sample.round in theirs and theirs[sample.round].requests_per_cpu_s > 0
    ]
    return Ratio(median(ratios), min(ratios), max(ratios)) if ratios else None
