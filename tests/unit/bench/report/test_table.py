from __future__ import annotations

import io

import msgspec
from rich.console import Console

from bench.plan import Door, LoadPlan, Shape
from bench.recorder import Recorder
from bench.report.table import describe_shape, print_result
from bench.result import Cost, CpuUse, KindResult, Machine, Result, judge_run


def a_result(*, errors: int = 0, target: float = 1e9, shape: Shape | None = None) -> Result:
    shape = shape or Shape(object_bytes=8 << 20, objects=64, duration_s=1.0, range_bytes=1 << 20, workload="range")
    recorder = Recorder(0.0, shape.interval_s)
    recorder.done(0.0, 0.01, 1.0, 2 * 10**9)
    for _ in range(errors):
        recorder.went_wrong("SlowDown", 1.0)
    recorder.ended(1.0)
    machine = Machine("a cpu", 2, 1 << 34, "6.1", "3.11", {})
    plan = LoadPlan(Door(("http://h:1",), "b"), shape)
    return judge_run(plan, recorder.report(), gpus=4, target=target, machine=machine, started="now")


def printed(result: Result) -> str:
    out = io.StringIO()
    print_result(Console(file=out, width=80), result)
    return out.getvalue()


def test_the_figures_that_people_look_for_are_there() -> None:
    said = printed(a_result())
    for figure in ("2.000", "0.500", "50.0%", "2,000,000,000", "a cpu, 2 cores, 16 GiB", "http://h:1 / b"):
        assert figure in said


def test_errors_are_named() -> None:
    assert "SlowDown" in printed(a_result(errors=3))
    assert "SlowDown" not in printed(a_result())


def test_the_shape_in_one_line() -> None:
    said = describe_shape(a_result())
    assert said == "range, 1 MiB of 64 objects of 8 MiB, raw, 20 connections in 1 process, 1 s"


def test_a_warm_up_is_said() -> None:
    said = describe_shape(a_result(shape=Shape(duration_s=1.0, warmup_s=0.5)))
    assert said.endswith("1 s after 0.5 s of warm-up")


def test_an_open_loop_a_mix_and_a_cost_are_shown() -> None:
    plain = a_result(shape=Shape(object_bytes=8 << 20, duration_s=1.0, rate=500.0))
    kind = KindResult(3, 4, 0, 1.0, 1.0, plain.latency)
    cost = Cost(CpuUse(2.0, 0.5, 1.0), 123.0, 0.2, 8130, 5, 0.9, 0.5)
    said = printed(
        msgspec.structs.replace(plain, service=plain.latency, unsent=7, kinds={"GET": kind, "PUT": kind}, cost=cost)
    )
    for words in ("500 operations/s", "from intended start", "PUT, 3", "123.0", "7 operations were due"):
        assert words in said
