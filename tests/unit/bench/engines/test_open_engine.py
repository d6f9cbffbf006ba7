"""Opening an engine whose library is missing: one line that names the extra."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.engines import ENGINES, WHOLE_ONLY, open_engine
from bench.plan import Door, LoadPlan, Shape

PLAN = LoadPlan(Door(("http://127.0.0.1:9000",), "b"), Shape())


@pytest.mark.parametrize(("engine", "library"), [("obstore", "obstore"), ("boto3", "boto3")])
def test_a_missing_library_names_the_extra(engine: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, ENGINES[engine], raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    plan = LoadPlan(PLAN.door, Shape(engine=engine))
    with pytest.raises(ValueError, match=rf"^--engine {engine} needs {library}; install forebay\[bench\]$"):
        open_engine(plan)


def test_every_engine_has_its_file() -> None:
    for name, module in ENGINES.items():
        assert Path(*module.split(".")).with_suffix(".py").name == f"{name}.py"
    assert ENGINES.keys() >= WHOLE_ONLY
