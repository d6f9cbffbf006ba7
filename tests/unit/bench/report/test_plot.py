from __future__ import annotations

from pathlib import Path

import pytest

from bench.report.plot import draw_result
from tests.unit.bench.report.a_result import a_result


@pytest.mark.parametrize(
    ("duration_s", "gpus", "requests"), [(0.05, 1, 3), (1.0, 1, 0), (12.0, 2, 100), (600.0, 8, 1000)]
)
def test_runs_of_any_length_are_drawn(tmp_path: Path, duration_s: float, gpus: int, requests: int) -> None:
    path = tmp_path / "run"
    draw_result(a_result(duration_s, gpus, requests), str(path))
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
