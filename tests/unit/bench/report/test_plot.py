from __future__ import annotations

from pathlib import Path

import pytest

from bench.plan import Door, LoadPlan, Shape
from bench.recorder import Recorder
from bench.report.plot import draw_result
from bench.result import Machine, Result, judge_run


def a_result(duration_s: float, gpus: int, requests: int) -> Result:
    shape = Shape(duration_s=duration_s)
    recorder = Recorder(0.0, shape.interval_s)
    for number in range(requests):
        start_s = duration_s * number / requests
        recorder.done(start_s, start_s, start_s + 0.3, 10**8)
    recorder.ended(duration_s)
    plan = LoadPlan(Door(("http://h:1",), "b"), shape)
    machine = Machine("a cpu", 2, 1 << 34, "6.1", "3.11", {})
    return judge_run(plan, recorder.report(), gpus=gpus, target=7e9, machine=machine, started="now")


@pytest.mark.parametrize(
    ("duration_s", "gpus", "requests"), [(0.05, 1, 3), (1.0, 1, 0), (12.0, 2, 100), (600.0, 8, 1000)]
)
def test_runs_of_any_length_are_drawn(tmp_path: Path, duration_s: float, gpus: int, requests: int) -> None:
    path = tmp_path / "run"
    draw_result(a_result(duration_s, gpus, requests), str(path))
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
