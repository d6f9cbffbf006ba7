"""The table and the plot of a comparison: work per CPU second of the server, by size, beside the reference's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.table import Table

from bench.report.figure import FAINT, INK, STONE, WATER, label_figure, new_figure
from bench.report.table import describe_machine
from bench.rounds import Comparison, Ratio, Row
from gateway.quantities import render_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS: Final = ("size", "server", "requests\n/CPU-s", "GB\n/CPU-s", "ratio", "requests\n/s", "GB/s", "busy")


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print how it was measured, then a row per size and server."""
    console.print(f"{describe_machine(comparison.machine)}\n{describe_terms(comparison)}")
    table = Table(title="warm hits, medians", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name in ("size", "server") else "right")
    for row in comparison.rows:
        table.add_row(*_cells(row), end_section=row.contender == comparison.reference)
    console.print(table)
    console.print(
        "ratio: to nginx in work per CPU second of the server, paired by round: median (extremes)\n"
        "busy: CPU time of the server's processes over wall-clock time"
    )
    failed = sum(row.failed for row in comparison.rows)
    if failed:
        console.print(f"{failed:,} requests failed: the figures do not count", style="red")


def draw_comparison(comparison: Comparison, path: str) -> None:
    """Write the PNG. Raises ValueError where matplotlib is missing."""
    figure, (small, large) = new_figure(panels=2)
    _draw_bars(small, comparison, [row.requests_per_cpu_s / 1000 for row in comparison.rows], "{:.1f}k")
    small.set_title("thousand requests", loc="left", fontsize=10, color=INK)
    _draw_bars(large, comparison, [row.gb_per_cpu_s for row in comparison.rows], "{:.2f}")
    large.set_title("GB", loc="left", fontsize=10, color=INK)
    label_figure(
        figure,
        title="Warm hits per second of server CPU time",
        subtitle=describe_terms(comparison),
        foot=describe_machine(comparison.machine),
    )
    figure.savefig(path, dpi=160, format="png")


def describe_terms(comparison: Comparison) -> str:
    """How it was measured, in one line."""
    versions = ", ".join(f"{name} {number}" for name, number in comparison.versions.items())
    return (
        f"{versions}; one worker each; {comparison.concurrent} connections; median of {comparison.rounds} interleaved "
        f"rounds of {comparison.duration_s:g} s"
    )


def _cells(row: Row) -> list[str]:
    return [
        render_bytes(row.object_bytes),
        row.contender,
        f"{row.requests_per_cpu_s:,.0f}",
        f"{row.gb_per_cpu_s:.2f}",
        _ratio(row.ratio),
        f"{row.requests_per_s:,.0f}",
        f"{row.gb_per_s:.2f}",
        f"{row.busy:.0%}",
    ]


def _ratio(ratio: Ratio | None) -> str:
    return "" if ratio is None else f"{ratio.median:.2f} ({ratio.smallest:.2f}-{ratio.largest:.2f})"


def _draw_bars(axes: Axes, comparison: Comparison, values: list[float], form: str) -> None:
    names = list(dict.fromkeys(row.contender for row in comparison.rows))
    sizes = sorted({row.object_bytes for row in comparison.rows})
    width = 0.8 / len(names)
    for row, value in zip(comparison.rows, values, strict=True):
        at = sizes.index(row.object_bytes) + (names.index(row.contender) - (len(names) - 1) / 2) * width
        mine = row.contender != comparison.reference
        label = row.contender if row.object_bytes == sizes[0] else None
        axes.bar(at, value, width * 0.92, color=WATER if mine else STONE, label=label)
        axes.text(at, value, form.format(value), ha="center", va="bottom", fontsize=7.5, color=INK if mine else FAINT)
    ratios = {row.object_bytes: row.ratio.median for row in comparison.rows if row.ratio is not None}
    ticks = [f"{render_bytes(size)}\n{ratios[size]:.2f}x" if size in ratios else render_bytes(size) for size in sizes]
    axes.set_xticks(range(len(sizes)), ticks)
    axes.margins(y=0.12)
    axes.legend(loc="best", frameon=False, fontsize=9, labelcolor=INK)
