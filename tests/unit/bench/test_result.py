from __future__ import annotations

import json

import msgspec
import pytest

from bench.plan import Door, LoadPlan, Shape
from bench.recorder import LoadReport, Recorder
from bench.result import CpuUse, Machine, Result, judge_cost, judge_run, parse_json, public_command, render_json

MACHINE = Machine("a cpu", 2, 1 << 34, "6.1", "3.11", {"forebay": "0.1"})
PLAN = LoadPlan(Door(("http://h",), "b", "AKID", "the-secret", "the-token"), Shape(duration_s=2.0))


def judged(report: LoadReport, *, gpus: int = 1, target: float = 7e9) -> Result:
    return judge_run(PLAN, report, gpus=gpus, target=target, machine=MACHINE, started="2026-01-01T00:00:00+00:00")


def even_load() -> Recorder:
    """20 requests of 1 GB, each in 0.1 s: 10 GB/s; then one that ends after the window."""
    recorder = Recorder(0.0, PLAN.shape.interval_s)
    for number in range(20):
        recorder.done(number / 10, number / 10, (number + 1) / 10 - 1e-6, 10**9)
    recorder.done(2.0, 2.5, 3.0, 10**9)
    return recorder


def test_rates_are_those_of_the_window_and_counts_are_all() -> None:
    result = judged(even_load().report())
    assert (result.requests, result.bytes) == (21, 21 * 10**9)
    assert result.rates.window_s == pytest.approx(2.0)
    assert result.rates.gb_per_s == pytest.approx(10.0)
    assert result.rates.requests_per_s == pytest.approx(10.0)
    assert result.rates.interval_gb_per_s == pytest.approx([10.0] * 20)


def test_each_gpu_gets_its_share_beside_its_target() -> None:
    each = judged(even_load().report(), gpus=4, target=5e9).per_gpu
    assert (each.gpus, each.target_gb_per_s) == (4, 5.0)
    assert each.gb_per_s == pytest.approx(2.5)
    assert each.target_share == pytest.approx(0.5)


def test_latencies_are_milliseconds() -> None:
    recorder = Recorder(0.0, 0.1)
    for number in range(1, 101):
        recorder.done(0.0, number / 2000, number / 1000, 1)
    result = judged(recorder.report())
    assert result.latency.p50_ms == pytest.approx(50, rel=0.01)
    assert result.latency.p99_ms == pytest.approx(99, rel=0.01)
    assert result.latency.max_ms == pytest.approx(100, rel=1e-6)
    assert result.first_byte.mean_ms == pytest.approx(25.25, rel=1e-6)


def test_an_interrupted_run_is_judged_by_the_time_that_it_had() -> None:
    recorder = Recorder(0.0, PLAN.shape.interval_s)
    recorder.done(0.0, 0.0, 0.95, 10**9)
    recorder.ended(1.0)
    result = judged(recorder.report())
    assert result.rates.window_s == pytest.approx(1.0)
    assert result.rates.gb_per_s == pytest.approx(1.0)


def test_a_run_in_which_nothing_succeeded() -> None:
    recorder = Recorder(0.0, PLAN.shape.interval_s)
    recorder.went_wrong("SlowDown", 1.9)
    recorder.ended(2.0)
    result = judged(recorder.report())
    assert (result.requests, result.failed, result.rates.gb_per_s, result.latency.p99_ms) == (0, 1, 0, 0)
    assert len(result.rates.interval_gb_per_s) == 20


def test_json_keeps_all_of_it_and_no_secret() -> None:
    result = judged(even_load().report())
    document = render_json(result)
    assert parse_json(document) == result
    assert not any(secret in document for secret in (b"AKID", b"the-secret", b"the-token"))


def test_a_result_from_before_there_were_warm_ups_had_none() -> None:
    result = judged(even_load().report())
    document = json.loads(render_json(result))
    assert document["shape"].pop("warmup_s") == 0
    assert parse_json(json.dumps(document).encode()) == result


@pytest.mark.parametrize("document", [b"{}", b"not json", b"[]"])
def test_what_is_no_result(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(document)


def test_a_later_format_is_refused() -> None:
    later = msgspec.structs.replace(judged(even_load().report()), format=2)
    with pytest.raises(ValueError, match="format 2"):
        parse_json(render_json(later))


def test_what_requests_cost() -> None:
    report = even_load().report()
    cost = judge_cost(report, CpuUse(0.5, 0.1, 0.25))
    assert cost.us_per_request == pytest.approx(0.5e6 / report.requests)
    assert cost.gb_per_cpu_s == pytest.approx(1 / cost.cpu_s_per_gb)
    assert cost.busy == pytest.approx(2 * cost.client_busy)
    assert judge_cost(Recorder(0.0, 0.1).report(), CpuUse(0.0, 0.0, 0.0)).us_per_request == 0


def test_a_command_is_shown_without_its_secrets() -> None:
    args = ["get", "--secret-key", "s3cret", "--access-key=AK", "--session-token", "t", "--bucket", "a b"]
    assert public_command("forebay bench", args) == "forebay bench get --bucket 'a b'"
