from __future__ import annotations

from importlib import import_module

import pytest

from bench.command import main
from bench.verbs import VERBS


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_its_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(import_module(VERBS[verb]).main)
    assert main([verb, "--help"]) == 0
    assert f"forebay bench {verb}" in capsys.readouterr().out
