from __future__ import annotations

import msgspec
import pytest

from bench.result import Latency
from bench.rounds import Case, Ratio, Sample, order_of, paired, parse_case, summarise

LATENCY = Latency(1, 1, 1, 2, 3, 4)


def sample(contender: str, turn: int, requests: int, *, size: int = 4096, cpu_s: float = 1.0) -> Sample:
    return Sample(contender, Case(size), turn, requests, requests * size, 0, 2.0, cpu_s, cpu_s / 4, 0.5, LATENCY)


def test_work_is_counted_per_cpu_second() -> None:
    one = sample("forebay", 0, 3000, cpu_s=1.5)
    assert one.requests_per_cpu_s == 2000
    assert one.gb_per_cpu_s == pytest.approx(2000 * 4096 / 1e9)
    assert (one.requests_per_s, one.busy, one.client_busy) == (1500, 0.75, 0.25)


def test_without_cpu_time_there_is_no_work() -> None:
    assert (sample("a", 0, 5, cpu_s=0).requests_per_cpu_s, sample("a", 0, 5, cpu_s=0).gb_per_cpu_s) == (0, 0)


def test_the_ratio_is_paired_by_round() -> None:
    pairs = [(100, 200), (50, 50), (10, 40)]  # a machine that gets slower: medians alone would say 1.0
    samples = [
        each
        for turn, (ours, theirs) in enumerate(pairs)
        for each in (sample("nginx", turn, theirs), sample("forebay", turn, ours))
    ]
    ours, theirs = summarise(samples, "nginx")
    assert (ours.contender, theirs.contender) == ("forebay", "nginx")
    assert ours.ratio == Ratio(0.5, 0.25, 1.0)
    assert theirs.ratio is None
    assert (ours.requests_per_cpu_s, theirs.requests_per_cpu_s) == (50, 50)


def test_a_row_for_each_size_and_contender() -> None:
    samples = [sample(name, 0, 1, size=size) for size in (4096, 8192) for name in ("nginx", "forebay")]
    rows = [(row.case.object_bytes, row.contender) for row in summarise(samples, "nginx")]
    assert rows == [(4096, "forebay"), (4096, "nginx"), (8192, "forebay"), (8192, "nginx")]


def test_failures_add_up_and_a_missing_partner_gives_no_ratio() -> None:
    failed = [msgspec.structs.replace(sample("forebay", turn, 1), failed=2) for turn in range(2)]
    (row,) = summarise(failed, "nginx")
    assert (row.failed, row.ratio) == (4, None)


def test_who_goes_first_turns() -> None:
    assert [order_of(["a", "b"], turn) for turn in range(3)] == [["a", "b"], ["b", "a"], ["a", "b"]]


def test_any_figure_is_paired() -> None:
    samples = [sample("a", 0, 10), sample("b", 0, 5), sample("a", 1, 10)]
    assert paired(samples, Case(4096), "a", "b", lambda each: each.requests_per_s) == Ratio(2, 2, 2)
    assert paired(samples, Case(4096), "a", "c", lambda each: each.requests_per_s) is None


@pytest.mark.parametrize(
    ("text", "case", "name"),
    [("4KiB", Case(4096), "4 KiB"), ("8MiB/1GiB", Case(1 << 30, 8 << 20), "8 MiB of 1 GiB")],
)
def test_cases_as_people_write_them(text: str, case: Case, name: str) -> None:
    assert parse_case(text) == case
    assert case.name == name
    assert case.shape(concurrent=3).concurrent == 3
    assert case.shape().workload == ("range" if case.range_bytes else "get")


@pytest.mark.parametrize("text", ["", "0", "8MiB/1MiB", "1MiB/", "much"])
def test_what_is_no_case(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_case(text)
