from __future__ import annotations

import msgspec
import pytest

from bench.lines.hits import judge_hits, line_for
from bench.result import Latency, Machine
from bench.rounds import FORMAT, Case, Comparison, Sample, summarise

KIB, MIB, GIB = 1024, 1024**2, 1024**3


def comparison(engine: str, reference: str, ours: int, theirs: int, *, p99_ms: float = 1.0) -> Comparison:
    samples = [
        Sample(name, case, turn, work, work, 0, 1.0, 1.0, 0.5, 0.5, Latency(1, 1, 1, p99, 2, 2))
        for case in (Case(4 * KIB), Case(5 * KIB))
        for turn in range(5)
        for name, work, p99 in ((reference, theirs, 4.0), ("forebay", ours, p99_ms))
    ]
    machine = Machine("a cpu", 2, 1 << 34, "6.1", "3.11", {})
    rows = summarise(samples, reference)
    return Comparison(FORMAT, "now", machine, (0,), (1,), engine, 16, 2.0, 5, reference, {}, rows, samples)


@pytest.mark.parametrize(("ours", "met"), [(95, True), (80, False)])
def test_hits_beside_nginx(ours: int, met: bool) -> None:
    (verdict,) = judge_hits(comparison("raw", "nginx", ours, 100))  # no line is drawn at 5 KiB
    assert (verdict.figure, verdict.bound, verdict.met) == (ours / 100, 0.9, met)


def test_without_nginx_there_is_no_line() -> None:
    assert judge_hits(comparison("raw", "varnish", 1, 1)) == []


def test_clients_are_held_against_the_upstream() -> None:
    verdicts = judge_hits(comparison("boto3", "upstream", 300, 100, p99_ms=3.0))
    assert [(v.group, v.met) for v in verdicts] == [("2", True), ("2", False)] * 2
    assert judge_hits(msgspec.structs.replace(comparison("boto3", "nginx", 1, 1))) == []


def test_ranges_of_any_large_object_count() -> None:
    assert line_for(Case(64 * MIB, 8 * MIB)) == line_for(Case(GIB, 8 * MIB)) == 1.0
    assert line_for(Case(GIB, MIB)) is None
    assert line_for(Case(MIB)) == 1.0
