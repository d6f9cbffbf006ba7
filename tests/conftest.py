"""Settings of every test, and who runs which beside whom.

Hypothesis asserts no times, and chooses the same examples for everybody in CI. Where xdist divides the tests
(``make test``), a file stays together, as its fixtures live that long; the tests of clients stay together over each
upstream, since they share its nodes. What starts processes begins first, so that the many short files at the end
leave no process idle.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

settings.register_profile("forebay", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "forebay")

FIRST = ("faults", "clients", "integration")
HERE = Path(__file__).parent
_OVER_AN_UPSTREAM = re.compile(r"tests/clients/.*\[(moto|rclone)\b")


class ByFileAndUpstream(LoadFileScheduling):
    """What is never divided: a file, and all tests of clients over one upstream."""

    def _split_scope(self, nodeid: str) -> str:
        found = _OVER_AN_UPSTREAM.match(nodeid)
        return f"clients over {found[1]}" if found else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)  # of xdist, which may be switched off
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFileAndUpstream | None:
    """``--dist loadfile`` as it is meant here."""
    return ByFileAndUpstream(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)  # the order in which fixtures would have them is kept within a file
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, the directories of ``FIRST`` begin, in that order."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(item.path.relative_to(HERE).parts[0]))


def _rank(directory: str) -> int:
    return FIRST.index(directory) if directory in FIRST else len(FIRST)
