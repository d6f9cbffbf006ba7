"""Runs beside each other: what changed from one to the next, and which changes are more than noise.

A side is one run or several repeated ones. Repeated runs are the better evidence: then a value is one run's figure, and
every figure can have a verdict. With one run on each side the values are its throughput, cut into stretches of equal
length (neighbouring intervals lean on each other, long stretches hardly do); a verdict then speaks of these two runs,
and latencies, of which a run has only one set, get none. What differs by less than ``LEAST`` is the same to anybody.

Only the same workload is compared: :func:`differences` names what stands against it. Sans-IO; the statistics are
``bench/compare_spread.py``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from bench.compare_spread import Ratio, ratio_of
from bench.result import Result
from bench.timeline import coarsen

LEAST: Final = 0.01
STRETCHES: Final = 20
_STRETCH_S_MIN: Final = 0.5
_SAME_WORKLOAD: Final = frozenset({"duration_s", "discard", "ray", "processes"})  # how long and by whom, not what

Verdict = Literal["better", "worse", "the same", "no verdict", ""]


@dataclass(frozen=True, slots=True)
class Side:
    """Runs of one thing under one name."""

    name: str
    runs: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure of one side: the median, the extremes, and of how many values."""

    median: float
    smallest: float
    largest: float
    count: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure of two sides. ``ratio`` is None where there is nothing to divide by."""

    figure: str
    unit: str
    before: Spread
    after: Spread
    ratio: Ratio | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Figure:
    unit: str
    of_run: Callable[[Result], float]
    more_is_better: bool = False


FIGURES: Final[Mapping[str, _Figure]] = MappingProxyType(
    {
        "throughput": _Figure("GB/s", lambda run: run.rates.gb_per_s, more_is_better=True),
        "requests": _Figure("1/s", lambda run: run.rates.requests_per_s, more_is_better=True),
        "latency p50": _Figure("ms", lambda run: run.latency.p50_ms),
        "latency p99": _Figure("ms", lambda run: run.latency.p99_ms),
        "latency p99.9": _Figure("ms", lambda run: run.latency.p999_ms),
        "first byte p50": _Figure("ms", lambda run: run.first_byte.p50_ms),
        "CPU per request": _Figure("µs", lambda run: run.cost.us_per_request if run.cost else 0.0),
    }
)


def differences(before: Side, after: Side) -> list[str]:
    """What makes the workloads of two sides different, one line each; empty: they are the same."""
    first, *others = (msgspec.structs.asdict(run.shape) for side in (before, after) for run in side.runs)
    found = [
        f"{name}: {first[name]!r} and {other[name]!r}"
        for other in others
        for name in first
        if name not in _SAME_WORKLOAD and other[name] != first[name]
    ]
    return list(dict.fromkeys(found))


def doubts(before: Side, after: Side) -> list[str]:
    """What a reader should know before believing the figures, one line each."""
    runs = [*before.runs, *after.runs]
    found = [
        f"{side.name}: {failed:,} errors" for side in (before, after) if (failed := sum(r.failed for r in side.runs))
    ]
    if len({(run.machine.cpu, run.machine.cores, run.machine.kernel) for run in runs}) > 1:
        found.append("measured on different machines")
    if min(len(before.runs), len(after.runs)) == 1:
        found.append("one run on a side: a verdict speaks of these runs only; repeat them to say more")
    return found


def compare(before: Side, after: Side) -> list[Finding]:
    """All figures that both sides have."""
    single = len(before.runs) == len(after.runs) == 1
    return [
        _finding(name, figure, *_values(name, figure, before, after, single=single), single=single)
        for name, figure in FIGURES.items()
        if all(figure.of_run(run) > 0 for run in (*before.runs, *after.runs))
    ]


def stretches(run: Result) -> list[float]:
    """GB/s of a run by stretches of equal length, about ``STRETCHES`` of them, none shorter than half a second."""
    fine = run.rates.interval_gb_per_s
    group = max(len(fine) // STRETCHES, round(_STRETCH_S_MIN / run.rates.interval_s), 1)
    return [value / group for value in coarsen(fine, group)]


def _values(
    name: str, figure: _Figure, before: Side, after: Side, *, single: bool
) -> tuple[Sequence[float], Sequence[float]]:
    if single and name == "throughput":
        return stretches(before.runs[0]), stretches(after.runs[0])
    return [figure.of_run(run) for run in before.runs], [figure.of_run(run) for run in after.runs]


def _finding(name: str, figure: _Figure, before: Sequence[float], after: Sequence[float], *, single: bool) -> Finding:
    try:
        ratio = ratio_of(before, after)
    except ValueError:  # a run that stood still for a stretch
        ratio = None
    verdict: Verdict = "" if single and name != "throughput" else judge(ratio, more_is_better=figure.more_is_better)
    return Finding(name, figure.unit, _spread(before), _spread(after), ratio, verdict)


def judge(ratio: Ratio | None, *, more_is_better: bool) -> Verdict:
    """What a ratio allows to say. ``the same``: its interval lies within ``LEAST`` of 1."""
    if ratio is None or ratio.interval is None:
        return "no verdict"
    low, high = ratio.interval
    if low >= 1 - LEAST and high <= 1 + LEAST:
        return "the same"
    if not ratio.differs:
        return "no verdict"
    return "better" if (ratio.estimate > 1) == more_is_better else "worse"


def _spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values), len(values)) if values else Spread(0, 0, 0, 0)
