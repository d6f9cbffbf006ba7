"""A comparison in interleaved rounds, as values: what each server did in each round, medians, and ratios.

On a noisy machine single figures drift by tens of percent within minutes, ratios of neighbours much less. So every
round measures all contenders one after the other, in an order that turns with each round, and a ratio is the median
of the ratios within the rounds (paired), never a ratio of two medians. The spread beside it is the smallest and the
largest of them. Work is requests and bytes per second of the server's CPU time. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

import msgspec

from bench.plan import Shape
from bench.result import Latency, Machine
from gateway.quantities import parse_bytes, render_bytes

FORMAT: Final = 2
_SET_BYTES_MAX: Final = 64 * 1024 * 1024
_OBJECTS_MAX: Final = 256


class Case(msgspec.Struct, frozen=True, order=True):
    """What is read: whole objects of a size, or (``range_bytes``) ranges of that length within them."""

    object_bytes: int
    range_bytes: int = 0

    @property
    def name(self) -> str:
        """``8 MiB``, or ``8 MiB of 1 GiB``."""
        whole = render_bytes(self.object_bytes)
        return f"{render_bytes(self.range_bytes)} of {whole}" if self.range_bytes else whole

    @property
    def objects(self) -> int:
        """How many objects are read: 256, or fewer where those would not stay in memory easily."""
        return max(min(_OBJECTS_MAX, _SET_BYTES_MAX // self.object_bytes), 1)

    def shape(self, **more: object) -> Shape:
        """The load, with whatever else it needs."""
        shape = Shape(
            workload="range" if self.range_bytes else "get",
            prefix="",
            object_bytes=self.object_bytes,
            objects=self.objects,
            range_bytes=self.range_bytes,
        )
        return msgspec.structs.replace(shape, **more)


def parse_case(text: str) -> Case:
    """A case as people write it: ``64KiB`` or, ranges of an object, ``8MiB/1GiB``. Raises ValueError."""
    part, slash, whole = text.strip().partition("/")
    if not slash:
        return Case(_some(part))
    case = Case(_some(whole), _some(part))
    if case.range_bytes > case.object_bytes:
        raise ValueError(f"{text!r}: a range cannot be longer than its object")
    return case


def _some(text: str) -> int:
    count = parse_bytes(text)
    if count == 0:
        raise ValueError("an object of 0 bytes has nothing to read")
    return count


class Sample(msgspec.Struct, frozen=True):
    """One contender in one round. ``cpu_s``: CPU seconds of the server's processes, ``user_s`` of them in user mode."""

    contender: str
    case: Case
    round: int
    requests: int
    bytes: int
    failed: int
    wall_s: float
    cpu_s: float
    user_s: float
    client_cpu_s: float
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

    @property
    def client_busy(self) -> float:
        """The same of the clients: at one core per client process, they are the bottleneck."""
        return self.client_cpu_s / self.wall_s


class Ratio(msgspec.Struct, frozen=True):
    """``first`` over ``second``, paired by round: the median, and the extremes."""

    median: float
    smallest: float
    largest: float


class Row(msgspec.Struct, frozen=True):
    """One contender at one case: medians over its rounds. ``ratio`` to the reference; None for itself."""

    contender: str
    case: Case
    requests_per_cpu_s: float
    gb_per_cpu_s: float
    requests_per_s: float
    gb_per_s: float
    busy: float
    client_busy: float
    user_share: float
    p50_ms: float
    p99_ms: float
    failed: int
    ratio: Ratio | None


class Comparison(msgspec.Struct, frozen=True):
    """A whole comparison: the JSON file. ``duration_s``: of one sample; ``reference``: whom ratios are to.

    ``warmup_s``: how long the clients of a sample worked before it; one that was kept before there was any says none.
    """

    format: int
    started: str
    machine: Machine
    server_cpus: tuple[int, ...]
    client_cpus: tuple[int, ...]
    engine: str
    concurrent: int
    duration_s: float
    rounds: int
    reference: str
    versions: dict[str, str]
    rows: list[Row]
    samples: list[Sample]
    command: str = ""
    warmup_s: float = 0.0


def render_json(comparison: Comparison) -> bytes:
    """The comparison as an indented JSON document."""
    return msgspec.json.format(msgspec.json.encode(comparison), indent=2) + b"\n"


def parse_json(document: bytes) -> Comparison:
    """The comparison in a document. Raises ValueError where it is none, or of another format."""
    comparison = msgspec.json.decode(document, type=Comparison)
    if comparison.format != FORMAT:
        raise ValueError(f"a comparison of format {comparison.format}; this version reads format {FORMAT}")
    return comparison


def order_of(contenders: Sequence[str], turn: int) -> list[str]:
    """The order of a round: who goes first turns with every round."""
    first = turn % len(contenders)
    return [*contenders[first:], *contenders[:first]]


def summarise(samples: Sequence[Sample], reference: str) -> list[Row]:
    """A row per case and contender, in the order in which they first appear; cases ascend, the reference comes last."""
    cases = list(dict.fromkeys(sample.case for sample in samples))
    names = list(dict.fromkeys(sample.contender for sample in samples))
    return [_row(samples, name, case, reference) for case in cases for name in sorted(names, key=reference.__eq__)]


def paired(
    samples: Sequence[Sample], case: Case, first: str, second: str, figure: Callable[[Sample], float]
) -> Ratio | None:
    """``first`` over ``second`` in any figure, within the rounds that have both; None where there is none."""
    mine = {s.round: figure(s) for s in samples if (s.contender, s.case) == (first, case)}
    theirs = {s.round: figure(s) for s in samples if (s.contender, s.case) == (second, case)}
    ratios = [mine[turn] / theirs[turn] for turn in mine if theirs.get(turn, 0) > 0]
    return Ratio(median(ratios), min(ratios), max(ratios)) if ratios else None


def _row(samples: Sequence[Sample], name: str, case: Case, reference: str) -> Row:
    mine = [sample for sample in samples if (sample.contender, sample.case) == (name, case)]

    def middle(figure: Callable[[Sample], float]) -> float:
        return median(map(figure, mine))

    return Row(
        contender=name,
        case=case,
        requests_per_cpu_s=middle(lambda sample: sample.requests_per_cpu_s),
        gb_per_cpu_s=middle(lambda sample: sample.gb_per_cpu_s),
        requests_per_s=middle(lambda sample: sample.requests_per_s),
        gb_per_s=middle(lambda sample: sample.gb_per_s),
        busy=middle(lambda sample: sample.busy),
        client_busy=middle(lambda sample: sample.client_busy),
        user_share=middle(lambda sample: min(sample.user_s / sample.cpu_s, 1.0) if sample.cpu_s > 0 else 0.0),
        p50_ms=middle(lambda sample: sample.latency.p50_ms),
        p99_ms=middle(lambda sample: sample.latency.p99_ms),
        failed=sum(sample.failed for sample in mine),
        ratio=None
        if name == reference
        else paired(samples, case, name, reference, lambda sample: sample.requests_per_cpu_s),
    )
