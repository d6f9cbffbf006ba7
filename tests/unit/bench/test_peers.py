from __future__ import annotations

import dataclasses
from importlib.metadata import version
from pathlib import Path

import pytest

from bench.engines import ENGINES
from bench.peers import CONTENDERS, Terms, installed, write_objects
from bench.peers_command import main
from bench.rounds import Case


def terms(engine: str) -> Terms:
    return Terms(("forebay",), (Case(4096),), 5, 2.0, 16, (0,), (1,), engine)


def test_the_plan_is_of_the_case_and_only_raw_discards() -> None:
    plan = terms("raw").plan("http://127.0.0.1:9", Case(1 << 20, 4096))
    assert (plan.shape.workload, plan.shape.range_bytes, plan.shape.objects) == ("range", 4096, 64)
    assert (plan.shape.discard, plan.cpus, plan.door.endpoints) == (True, (1,), ("http://127.0.0.1:9",))
    assert not terms("boto3").plan("http://127.0.0.1:9", Case(4096)).shape.discard


def test_client_libraries_are_warmed_up_unless_it_is_said_otherwise() -> None:
    def warmup_s(engine: str, asked_s: float | None = None) -> float:
        asked = dataclasses.replace(terms(engine), asked_warmup_s=asked_s)
        shape = asked.plan("http://127.0.0.1:9", Case(4096)).shape
        assert (shape.warmup_s, shape.duration_s) == (asked.warmup_s, 2.0)
        return shape.warmup_s

    assert [warmup_s(engine) for engine in sorted(ENGINES)] == [0.0 if e == "raw" else 2.0 for e in sorted(ENGINES)]
    assert (warmup_s("obstore", 0.0), warmup_s("raw", 3.0)) == (0.0, 3.0)


def test_files_lie_where_the_keys_name_them(tmp_path: Path) -> None:
    case = Case(1 << 20)
    write_objects(tmp_path, [case])
    files = [tmp_path / "bench" / each.key for each in case.shape().objects_read()]
    assert {path.stat().st_size for path in files} == {1 << 20}
    assert len({path.read_bytes()[:64] for path in files}) == case.objects == 64


def test_what_is_here_has_a_version(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    found = installed(list(CONTENDERS), said.append)
    assert found["forebay"] == version("forebay")
    assert len(said) == len(CONTENDERS) - len(found)
    assert all(line.startswith("without ") for line in said)


@pytest.mark.parametrize(
    "line", ["--servers apache", "--sizes 0", "--sizes 8MiB/1MiB", "--duration never", "--warmup never"]
)
def test_terms_that_make_no_sense(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(line.split())
    assert end.value.code == 2
    assert "forebay bench peers: error" in capsys.readouterr().err
