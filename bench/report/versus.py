"""The table of a comparison of runs: medians, extremes, the ratio with its interval, a verdict where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from bench.compare import Finding, Side, Spread
from bench.compare_spread import Ratio
from bench.report.scale import render_number
from bench.report.table import describe_shape

_STYLE: Final = {"better": "green", "worse": "red"}


def print_versus(
    console: Console, before: Side, after: Side, findings: Sequence[Finding], *, doubts: Sequence[str]
) -> None:
    """Print what was compared, a row per figure, and what to keep in mind."""
    console.print(f"{before.name} → {after.name}: {describe_shape(before.runs[0])}", highlight=False, markup=False)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("", "before", "after", "ratio", "95 %\ninterval", "verdict"):
        table.add_column(name, justify="right" if name not in ("", "verdict") else "left", no_wrap=True)
    for finding in findings:
        table.add_row(*_cells(finding), style=_STYLE.get(finding.verdict))
    console.print(table)
    console.print("ratio: after over before; in brackets: the extremes", style="dim", highlight=False)
    for line in doubts:
        console.print(f"note: {line}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def _cells(finding: Finding) -> list[str]:
    interval = finding.ratio.interval if finding.ratio else None
    return [
        f"{finding.figure}, {finding.unit}",
        _spread(finding.before),
        _spread(finding.after),
        _ratio(finding.ratio),
        f"{interval[0]:.3f}-{interval[1]:.3f}" if interval and finding.verdict else "",
        finding.verdict,
    ]


def _ratio(ratio: Ratio | None) -> str:
    return "" if ratio is None else f"{ratio.estimate:.3f}"


def _spread(spread: Spread) -> str:
    middle = render_number(spread.median)
    if spread.count < 2:
        return middle
    return f"{middle}\n({render_number(spread.smallest)}-{render_number(spread.largest)})"
