"""Groups of lines at a tiny scale: they run, and what must be constant is; no figure counts here."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.lines.command import main
from bench.lines.document import parse_json


def run(tmp_path: Path, group: str) -> dict[str, float]:
    assert main(["--only", group, "--scale", "0.005", "--rounds", "1", "--out", str(tmp_path)]) == 0
    result = parse_json((tmp_path / "lines.json").read_bytes())
    assert result.failed == {}
    assert group in result.figures
    assert "a-secret" not in (tmp_path / "lines.json").read_text()
    return {verdict.what: verdict.figure for verdict in result.verdicts}


@pytest.mark.heavy
def test_a_crowd_costs_one_get_per_chunk(tmp_path: Path) -> None:
    assert run(tmp_path, "cold")["GETs per chunk for them"] == 1


@pytest.mark.heavy
def test_after_a_clean_restart_nothing_reaches_the_upstream(tmp_path: Path) -> None:
    assert run(tmp_path, "restart")["reads that reached the upstream after clean restarts"] == 0


@pytest.mark.parametrize("group", ["forwards", "memory", "remote"])
def test_the_other_groups_run(tmp_path: Path, group: str) -> None:
    assert len(run(tmp_path, group)) == 3


def test_groups_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "warm"])
    assert "no group 'warm'" in capsys.readouterr().err
