"""Lines and their figures, for a terminal: what was asked, what came, whether it holds."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from bench.lines.verdict import Verdict
from bench.report.scale import render_number


def print_verdicts(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Print a row for each line; nothing where there is none."""
    if not verdicts:
        return
    table = Table(title="lines", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("", "what", "measured", "line", ""):
        table.add_column(name, justify="right" if name in ("measured", "line") else "left")
    for verdict in verdicts:
        table.add_row(*cells(verdict), style="green" if verdict.met else "yellow")
    console.print(table)


def cells(verdict: Verdict) -> list[str]:
    """A line as texts: number, what, figure, bound, and whether it is met."""
    figure = f"{render_number(verdict.figure)}{_unit(verdict.unit)}"
    return [
        verdict.group,
        verdict.what,
        f"{figure} ({verdict.note})" if verdict.note else figure,
        f"{'≥' if verdict.at_least else '≤'} {render_number(verdict.bound)}{_unit(verdict.unit)}",
        "met" if verdict.met else "unmet",
    ]


def _unit(unit: str) -> str:
    return unit if unit in ("", "x", "%") else f" {unit}"
