"""A result to draw: requests of 100 MB that take 0.3 s, evenly over a run."""

from __future__ import annotations

from bench.plan import Door, LoadPlan, Shape
from bench.recorder import Recorder
from bench.result import Machine, Result, judge_run

MACHINE = Machine("a cpu", 2, 1 << 34, "6.1", "3.11", {"forebay": "0.1.0"})


def a_result(duration_s: float, gpus: int, requests: int) -> Result:
    shape = Shape(duration_s=duration_s)
    recorder = Recorder(0.0, shape.interval_s)
    for number in range(requests):
        start_s = duration_s * number / requests
        recorder.done(start_s, start_s, start_s + 0.3, 10**8)
    recorder.ended(duration_s)
    plan = LoadPlan(Door(("http://h:1",), "b"), shape)
    return judge_run(plan, recorder.report(), gpus=gpus, target=7e9, machine=MACHINE, started="now")
