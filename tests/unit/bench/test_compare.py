from __future__ import annotations

import msgspec
import pytest

from bench.compare import Side, compare, differences, doubts, judge, stretches
from bench.compare_spread import Ratio
from bench.result import Result
from tests.unit.bench.report.a_result import a_result


def run(*, gb_per_s: float = 2.0, wobble: float = 0.0, p99_ms: float = 5.0) -> Result:
    plain = a_result(20.0, 1, 100)
    fine = [gb_per_s * (1 + wobble * ((at // 10) % 3 - 1)) for at in range(200)]
    return msgspec.structs.replace(
        plain,
        rates=msgspec.structs.replace(plain.rates, gb_per_s=gb_per_s, interval_gb_per_s=fine),
        latency=msgspec.structs.replace(plain.latency, p99_ms=p99_ms),
    )


def verdicts(before: list[Result], after: list[Result]) -> dict[str, str]:
    return {f.figure: f.verdict for f in compare(Side("a", tuple(before)), Side("b", tuple(after)))}


def test_two_runs_get_a_verdict_on_throughput_alone() -> None:
    found = verdicts([run(gb_per_s=2.0, wobble=0.02)], [run(gb_per_s=3.0, wobble=0.02, p99_ms=50)])
    assert found["throughput"] == "better"
    assert {verdict for figure, verdict in found.items() if figure != "throughput"} == {""}


def test_a_spread_that_is_wider_than_the_difference_forbids_a_verdict() -> None:
    assert verdicts([run(gb_per_s=2.0, wobble=0.3)], [run(gb_per_s=2.1, wobble=0.3)])["throughput"] == "no verdict"


def test_repeated_runs_get_verdicts_on_all_figures() -> None:
    before = [run(gb_per_s=2 + at / 100, p99_ms=5 + at / 10) for at in range(4)]
    after = [run(gb_per_s=1.5 + at / 100, p99_ms=4 + at / 10) for at in range(4)]
    found = verdicts(before, after)
    assert (found["throughput"], found["latency p99"]) == ("worse", "better")
    assert found["latency p50"] == "the same"
    assert verdicts(before[:3], after[:3])["throughput"] == "no verdict"


def test_a_figure_that_a_side_lacks_is_left_out() -> None:
    assert "CPU per request" not in verdicts([run()], [run()])
    still = msgspec.structs.replace(run(), rates=msgspec.structs.replace(run().rates, interval_gb_per_s=[0.0] * 200))
    assert verdicts([run()], [still])["throughput"] == "no verdict"


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (None, "no verdict"),
        (Ratio(2.0, None), "no verdict"),
        (Ratio(1.0, (0.995, 1.005)), "the same"),
        (Ratio(1.1, (0.9, 1.3)), "no verdict"),
        (Ratio(1.1, (1.05, 1.3)), "better"),
        (Ratio(0.9, (0.8, 0.95)), "worse"),
    ],
)
def test_judging(ratio: Ratio | None, verdict: str) -> None:
    assert judge(ratio, more_is_better=True) == verdict
    turned = {"better": "worse", "worse": "better"}.get(verdict, verdict)
    assert judge(ratio, more_is_better=False) == turned


def test_stretches_are_long() -> None:
    assert len(stretches(run())) == 20
    assert len(stretches(a_result(1.0, 1, 10))) == 2


def test_other_workloads_are_told_apart_and_other_lengths_are_not() -> None:
    plain = run()
    longer = msgspec.structs.replace(plain, shape=msgspec.structs.replace(plain.shape, duration_s=99.0))
    larger = msgspec.structs.replace(plain, shape=msgspec.structs.replace(plain.shape, object_bytes=5))
    warmed = msgspec.structs.replace(plain, shape=msgspec.structs.replace(plain.shape, warmup_s=2.0))
    assert differences(Side("a", (plain,)), Side("b", (longer,))) == []
    assert differences(Side("a", (plain,)), Side("b", (warmed,))) == ["warmup_s: 0.0 and 2.0"]
    assert differences(Side("a", (plain,)), Side("b", (larger, larger))) == [
        f"object_bytes: {plain.shape.object_bytes} and 5"
    ]


def test_doubts_are_named() -> None:
    plain = run()
    elsewhere = msgspec.structs.replace(
        plain, machine=msgspec.structs.replace(plain.machine, cores=64), errors={"SlowDown": 3}
    )
    found = "\n".join(doubts(Side("a", (plain,)), Side("b", (elsewhere,))))
    for words in ("b: 3 errors", "different machines", "one run"):
        assert words in found
    assert doubts(Side("a", (plain, plain)), Side("b", (plain, plain))) == []
