"""What each group makes of its figures: met on one side of the line, unmet on the other."""

from __future__ import annotations

import pytest

from bench.lines.catalog import CatalogFigures, judge_catalog
from bench.lines.cold import ColdFigures, judge_cold
from bench.lines.forwards import ForwardFigures, judge_forwards
from bench.lines.memory import MemoryFigures, judge_memory
from bench.lines.remote import RemoteFigures, judge_remote
from bench.lines.restart import RestartFigures, judge_restart
from bench.lines.verdict import Verdict
from bench.result import Latency
from bench.rounds import Case, Sample

MIB = 1024**2


def met(verdicts: list[Verdict]) -> list[bool]:
    return [verdict.met for verdict in verdicts]


def test_cold_reads() -> None:
    good = ColdFigures([10.0] * 3, [2.0] * 3, [0.05] * 3, [0.0515] * 3, [0.06] * 3, [0.08] * 3, 4, 4, 10**9)
    bad = ColdFigures([10.0] * 3, [3.0] * 3, [0.05] * 3, [0.0525] * 3, [0.06] * 3, [0.1] * 3, 5, 4, 10**9)
    assert met(judge_cold(good)) == [True] * 4
    assert met(judge_cold(bad)) == [False] * 4


def test_ratios_are_paired_by_round() -> None:
    slower = [1.0, 2.0, 4.0]  # the machine slows down; every round says four times
    figures = ColdFigures([4 * s for s in slower], slower, [0.05], [0.05], [1.0], [1.0], 1, 1, 10**9)
    assert judge_cold(figures)[0].figure == 4.0


def test_streams_in_memory_as_found_stand_beside() -> None:
    figures = ColdFigures([10.0], [2.0], [0.05], [0.05], [1.0], [1.0], 1, 1, 10**9, found_stream_s=[4.0])
    assert judge_cold(figures)[0].figure == 5.0
    assert judge_cold(figures)[0].note == "500 MB/s; 2.50x in memory as found"


def test_forwarding() -> None:
    good = ForwardFigures([0.9], [1.0], [0.9], [1.0], [1.0], [3.0], 5)
    bad = ForwardFigures([0.8], [1.0], [0.8], [1.0], [1.0], [3.1], 5)
    assert met(judge_forwards(good)) == [True] * 3
    assert met(judge_forwards(bad)) == [False] * 3


def test_restarts() -> None:
    assert met(judge_restart(RestartFigures(100_000, 21, [0.9, 5.0, 0.8], [1.9], [0, 0, 0], [3]))) == [True] * 3
    assert met(judge_restart(RestartFigures(100_000, 21, [1.1], [2.1], [1], [3]))) == [False] * 3


@pytest.mark.parametrize(("cpu_s", "holds"), [(1.09, True), (0.91, True), (1.11, False), (0.89, False)])
def test_the_catalog(cpu_s: float, holds: bool) -> None:
    samples = [
        Sample(name, Case(4096), turn, 100, 1, 0, 1.0, used, 0.0, 0.0, Latency(1, 1, 1, 1, 1, 1))
        for turn in range(5)
        for name, used in (("1000", 1.0), ("1000000", cpu_s))
    ]
    (verdict,) = judge_catalog(CatalogFigures([1000, 1_000_000], samples))
    assert verdict.met == holds


def test_memory() -> None:
    good = MemoryFigures(99 * MIB, 5000, 99 * MIB + 5000 * 60 * 1024, 600, 100 * MIB, 104 * MIB)
    bad = MemoryFigures(101 * MIB, 5000, 101 * MIB + 5000 * 65 * 1024, 600, 100 * MIB, 106 * MIB)
    assert met(judge_memory(good)) == [True] * 3
    assert met(judge_memory(bad)) == [False] * 3


def test_remote_hits() -> None:
    good = RemoteFigures([0.3], [1.0], 1, 1, [0.001], [0.0019], 100, [100, 50, 20, 10])
    bad = RemoteFigures([0.2], [1.0], 1, 1, [0.001], [0.0021], 100, [100, 50, 20, 11])
    assert met(judge_remote(good)) == [True] * 3
    assert met(judge_remote(bad)) == [False] * 3
