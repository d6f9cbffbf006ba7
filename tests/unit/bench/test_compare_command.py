from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.compare_command import main
from bench.result import render_json
from tests.unit.bench.report.a_result import a_result


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    plain = a_result(12.0, 1, 100)
    faster = msgspec.structs.replace(
        plain,
        rates=msgspec.structs.replace(plain.rates, interval_gb_per_s=[9.0] * len(plain.rates.interval_gb_per_s)),
    )
    other = msgspec.structs.replace(plain, shape=msgspec.structs.replace(plain.shape, workload="range"))
    paths = []
    for name, result in (("plain", plain), ("faster", faster), ("other", other)):
        (tmp_path / f"{name}.json").write_bytes(render_json(result))
        paths.append(str(tmp_path / f"{name}.json"))
    return paths


def test_a_table_for_each_later_file(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    plain, faster, _ = files
    assert main([plain, faster, f"{plain},{plain}"]) == 0
    said = capsys.readouterr().out
    assert "plain → faster" in said
    assert "plain → plain and 1 more" in said
    assert "better" in said


def test_another_workload_is_refused_unless_told(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    plain, _, other = files
    assert main([plain, other]) == 1
    assert "workload: 'get' and 'range'" in capsys.readouterr().err
    assert main([plain, other, "--anyway"]) == 0
    assert "another workload" in capsys.readouterr().out


def test_what_is_no_result_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text("{}")
    assert main([str(tmp_path / "x.json")]) == 1
    assert "no result of forebay bench" in capsys.readouterr().err
    assert main([str(tmp_path / "none.json")]) == 1
