from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.cost import PathSample
from bench.cost_command import main, read_samples
from bench.lines import document
from bench.result import Cost, CpuUse, render_json
from tests.unit.bench.report.a_result import MACHINE, a_result


@pytest.fixture
def lines(tmp_path: Path) -> str:
    costs = [PathSample("hit", 100, 10**9, 0.2, 10**7), PathSample("hit", 1000, 10**6, 0.03, 1000)]
    result = document.LinesResult(document.FORMAT, "now", MACHINE, 1.0, 5, [], costs, {}, {})
    (tmp_path / "lines.json").write_bytes(document.render_json(result))
    return str(tmp_path / "lines.json")


def test_a_plan_is_printed_with_its_assumptions(lines: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([lines, "--gpus", "64", "--target", "7GB/s"]) == 0
    said = capsys.readouterr().out
    for words in ("64 GPUs at 7 GB/s", "8 nodes, each 56 GB/s", "remote was not measured", "cores"):
        assert words in said


def test_a_run_counts_if_its_server_was_named(tmp_path: Path) -> None:
    plain = a_result(12.0, 1, 100)
    path = tmp_path / "run.json"
    path.write_bytes(render_json(plain))
    with pytest.raises(ValueError, match="server-pid"):
        read_samples(path, "hit")
    cost = Cost(CpuUse(2.0, 0.5, 1.0), 123.0, 0.2, 8130, 5, 0.9, 0.5)
    path.write_bytes(render_json(msgspec.structs.replace(plain, cost=cost)))
    assert read_samples(path, "miss") == [PathSample("miss", 100, 10**10, 2.0, 10**8)]


def test_what_is_of_no_use_is_one_line(tmp_path: Path, lines: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text("{}")
    assert main([str(tmp_path / "x.json"), "--gpus", "8"]) == 1
    assert "no result of forebay bench" in capsys.readouterr().err
    for bad in ("--gpus 0", "--gpus 8 --miss 2", "--gpus 8 --hit 2", "--gpus 8 --busy 0"):
        with pytest.raises(SystemExit):
            main([lines, *bad.split()])
