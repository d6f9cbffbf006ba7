"""Lines 1 and 2: what warm hits cost beside tuned nginx, and what unmodified clients gain over the upstream directly.

The figures are a comparison's (``bench/peers.py``), judged here: work per second of server CPU time against nginx where
the load is the raw engine's; where it is a client library's, its throughput and its p99 against the same client on the
upstream. Ratios are paired by round. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bench.cost import PathSample
from bench.lines.verdict import Verdict, at_least, at_most
from bench.rounds import Case, Comparison, Ratio, paired

_KIB, _MIB, _GIB = 1024, 1024**2, 1024**3
BESIDE_NGINX: Final[Mapping[Case, float]] = MappingProxyType(
    {
        Case(4 * _KIB): 0.9,
        Case(64 * _KIB): 0.75,
        Case(_MIB): 1.0,
        Case(8 * _MIB): 1.0,
        Case(_GIB, 8 * _MIB): 1.0,
    }
)
CLIENTS_FASTER: Final = 2.0
CLIENTS_P99: Final = 0.5


def judge_hits(comparison: Comparison) -> list[Verdict]:
    """The lines that a comparison has figures for."""
    if comparison.engine == "raw":
        return [
            at_least("1", f"hits of {row.case.name} per CPU second, of nginx's", row.ratio.median, bound, "x",
                     note=_extremes(row.ratio))
            for row in comparison.rows
            if row.contender == "forebay" and comparison.reference == "nginx"
            and row.ratio is not None and (bound := line_for(row.case)) is not None
        ]  # fmt: skip
    return [
        verdict for case in dict.fromkeys(row.case for row in comparison.rows) for verdict in _clients(comparison, case)
    ]


def line_for(case: Case) -> float | None:
    """What a case must reach beside nginx; a range of any large object counts as one of 1 GiB."""
    if case.range_bytes:
        return BESIDE_NGINX.get(Case(_GIB, case.range_bytes))
    return BESIDE_NGINX.get(case)


def _clients(comparison: Comparison, case: Case) -> list[Verdict]:
    samples, engine = comparison.samples, comparison.engine
    speed = paired(samples, case, "forebay", "upstream", lambda sample: sample.requests_per_s)
    tail = paired(samples, case, "forebay", "upstream", lambda sample: sample.latency.p99_ms)
    if speed is None or tail is None:
        return []
    ours = next(row for row in comparison.rows if (row.contender, row.case) == ("forebay", case))
    shares = f"server {ours.busy:.0%} busy, client {ours.client_busy:.0%}"
    return [
        at_least("2", f"{engine}, {case.name}, over the upstream directly", speed.median, CLIENTS_FASTER, "x",
                 note=shares),
        at_most("2", f"{engine}, {case.name}, p99 over the upstream's", tail.median, CLIENTS_P99, "x",
                note=_extremes(tail)),
    ]  # fmt: skip


def _extremes(ratio: Ratio) -> str:
    return f"{ratio.smallest:.2f}-{ratio.largest:.2f}"


def costs_of(comparison: Comparison) -> list[PathSample]:
    """What hits cost Forebay in a comparison, for ``forebay bench cost``."""
    return [
        PathSample("hit", s.requests, s.bytes, s.cpu_s, s.case.range_bytes or s.case.object_bytes)
        for s in comparison.samples
        if s.contender == "forebay" and s.requests
    ]
