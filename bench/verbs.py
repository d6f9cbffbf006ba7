"""What ``forebay bench`` does beside loading an endpoint: a word, and the module that does it.

The table names modules instead of importing them, so that a plain run loads none of them. Each has ``main(args)``,
which returns the exit status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Final

VERBS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "compare": "bench.compare_command",
        "peers": "bench.peers_command",
        "lines": "bench.lines.command",
        "cost": "bench.cost_command",
    }
)


def run_verb(verb: str, args: Sequence[str]) -> int:
    """Do what ``verb`` stands for; the exit status (argparse's own where the arguments make no sense)."""
    try:
        status: int = import_module(VERBS[verb]).main(args)
    except SystemExit as end:
        return int(end.code or 0)
    return status
