"""What a run of the lines found, as the JSON file: every line with its figure, what paths cost, and the figures behind.

``scale`` 1.0 is what the lines speak of; at any other the file is a trial. ``figures`` holds each group's own values as
they were measured. Sans-IO.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from bench.cost import PathSample
from bench.lines.verdict import Verdict
from bench.result import Machine

FORMAT: Final = 1


class Outcome(msgspec.Struct, frozen=True):
    """What one group found."""

    verdicts: list[Verdict]
    figures: Any
    costs: list[PathSample] = []


class LinesResult(msgspec.Struct, frozen=True):
    """A run of several groups; see the module. ``failed``: groups that could not be measured, and why."""

    format: int
    started: str
    machine: Machine
    scale: float
    rounds: int
    verdicts: list[Verdict]
    costs: list[PathSample]
    figures: dict[str, Any]
    failed: dict[str, str]
    command: str = ""


def render_json(result: LinesResult) -> bytes:
    """The result as an indented JSON document."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"


def parse_json(document: bytes) -> LinesResult:
    """The result in a document. Raises ValueError where it is none, or of another format."""
    result = msgspec.json.decode(document, type=LinesResult)
    if result.format != FORMAT:
        raise ValueError(f"lines of format {result.format}; this version reads format {FORMAT}")
    return result
