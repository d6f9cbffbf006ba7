"""The table, the plot and the page of a comparison: work per CPU second of the server, beside the reference's."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.table import Table

from bench.lines.hits import line_for
from bench.lines.verdict import Verdict
from bench.report import page
from bench.report.figure import AMBER, FAINT, INK, PLUM, SAGE, STONE, TARGET, WATER, label_figure, new_figure
from bench.report.html import machine_table
from bench.report.scale import render_ms
from bench.report.table import after_warmup, describe_machine
from bench.report.verdicts import cells as verdict_cells
from bench.rounds import Case, Comparison, Ratio, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS: Final = ("", "requests\n/CPU-s", "GB\n/CPU-s", "ratio", "requests\n/s", "GB/s", "busy", "client")
_COLORS: Final = {"forebay": WATER, "nginx": STONE, "varnish": SAGE, "rclone": AMBER, "upstream": PLUM}
_WORDS: Final = (
    "busy, client: cores that the server and the clients used on the average; a client near 100 % was the bottleneck "
    "of the wall-clock figures"
)


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print how it was measured, then a row per case and server."""
    console.print(f"{describe_machine(comparison.machine)}\n{describe_terms(comparison)}", markup=False)
    table = Table(title="warm hits, medians", title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for name in _COLUMNS:
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for case in dict.fromkeys(row.case for row in comparison.rows):
        table.add_row(f"[bold]{case.name}")
        for row in (row for row in comparison.rows if row.case == case):
            table.add_row(f"  {row.contender}", *_cells(row), end_section=row.contender == comparison.reference)
    console.print(table)
    console.print(
        f"ratio: to {comparison.reference} in work per CPU second of the server, paired by round: median (extremes)\n"
        f"{_WORDS}",
        markup=False,
    )
    failed = sum(row.failed for row in comparison.rows)
    if failed:
        console.print(f"{failed:,} requests failed: the figures do not count", style="red")


def draw_comparison(comparison: Comparison) -> bytes:
    """The PNG. Raises ValueError where matplotlib is missing."""
    figure, (small, large) = new_figure(width=12.0, height=5.4, panels=2)
    _draw_bars(small, comparison, small=True)
    _draw_bars(large, comparison, small=False)
    _draw_legend(figure, comparison)
    label_figure(
        figure,
        title="Warm hits per second of server CPU time",
        subtitle=describe_terms(comparison),
        foot=f"{describe_machine(comparison.machine)}; x: Forebay over {comparison.reference}, median of the rounds",
    )
    image = io.BytesIO()
    figure.savefig(image, dpi=160, format="png")
    return image.getvalue()


def render_comparison(comparison: Comparison, verdicts: Sequence[Verdict], image: bytes) -> str:
    """The HTML page; the plot is inside."""
    return page.render_page("Warm hits beside other servers · forebay bench", _parts(comparison, verdicts, image))


def describe_terms(comparison: Comparison) -> str:
    """How it was measured, in one line."""
    versions = ", ".join(f"{name} {number}" for name, number in comparison.versions.items())
    return (
        f"{versions}; one core for the server; {comparison.engine}, {comparison.concurrent} connections; median of "
        f"{comparison.rounds} interleaved rounds of {comparison.duration_s:g} s{after_warmup(comparison.warmup_s)}"
    )


def _parts(comparison: Comparison, verdicts: Sequence[Verdict], image: bytes) -> Iterator[str]:
    yield page.headline("Warm hits per second of server CPU time", describe_terms(comparison))
    source = f"data:image/png;base64,{b64encode(image).decode('ascii')}"
    yield f'<img class="plot" alt="work per CPU second by size and server" src="{source}">'
    if verdicts:
        yield page.heading("Lines")
        styles = ["good" if verdict.met else "bad" for verdict in verdicts]
        yield page.table(
            ("", "what", "measured", "line", ""),
            [verdict_cells(verdict) for verdict in verdicts],
            words=2,
            styles=styles,
        )
    yield page.heading("All figures")
    head = (
        "size",
        "server",
        "requests/CPU-s",
        "GB/CPU-s",
        "ratio",
        "requests/s",
        "GB/s",
        "busy",
        "client",
        "p50",
        "p99",
    )
    rows = [
        [row.case.name, row.contender, *_cells(row), render_ms(row.p50_ms), render_ms(row.p99_ms)]
        for row in comparison.rows
    ]
    yield page.table(head, rows, words=2)
    yield page.paragraph(
        f"ratio: to {comparison.reference}, paired by round: median (extremes). {_WORDS}.", "faint small"
    )
    yield page.heading("Machine")
    yield machine_table(comparison.machine)
    if comparison.command:
        yield page.heading("To repeat it")
        yield page.command(comparison.command)


def _cells(row: Row) -> list[str]:
    return [
        f"{row.requests_per_cpu_s:,.0f}",
        f"{row.gb_per_cpu_s:.2f}",
        _ratio(row.ratio),
        f"{row.requests_per_s:,.0f}",
        f"{row.gb_per_s:.2f}",
        f"{row.busy:.0%}",
        f"{row.client_busy:.0%}",
    ]


def _ratio(ratio: Ratio | None) -> str:
    return "" if ratio is None else f"{ratio.median:.2f} ({ratio.smallest:.2f}-{ratio.largest:.2f})"


def _is_small(case: Case) -> bool:
    return (case.range_bytes or case.object_bytes) < 512 * 1024


def _draw_bars(axes: Axes, comparison: Comparison, *, small: bool) -> None:
    """One panel: thousand requests for the small cases, GB for the large ones, each per CPU second."""
    cases = [case for case in dict.fromkeys(row.case for row in comparison.rows) if _is_small(case) == small]
    names = list(dict.fromkeys(row.contender for row in comparison.rows))
    width = 0.82 / len(names)
    for row in (row for row in comparison.rows if row.case in cases):
        at = cases.index(row.case) + (names.index(row.contender) - (len(names) - 1) / 2) * width
        value = row.requests_per_cpu_s / 1000 if small else row.gb_per_cpu_s
        axes.bar(at, value, width * 0.92, color=_COLORS.get(row.contender, FAINT))
        words = f"{value:.1f}k" if small else f"{value:.2f}"
        color = INK if row.contender == "forebay" else FAINT
        axes.text(at, value, words, ha="center", va="bottom", fontsize=7.5, color=color)
        _draw_line(axes, comparison, row, (at, width), small=small)
    axes.set_xticks(range(len(cases)), [_tick(comparison, case) for case in cases])
    axes.set_title("thousand requests" if small else "GB", loc="left", fontsize=10, color=INK)
    axes.set_xlim(-0.6, max(len(cases), 1) - 0.4)
    axes.margins(y=0.14)


def _draw_line(axes: Axes, comparison: Comparison, row: Row, bar: tuple[float, float], *, small: bool) -> None:
    """Where Forebay's bar should end: its line times the reference's figure."""
    bound = line_for(row.case)
    theirs = [r for r in comparison.rows if (r.contender, r.case) == (comparison.reference, row.case)]
    if row.contender != "forebay" or comparison.reference != "nginx" or bound is None or comparison.engine != "raw":
        return
    value = bound * (theirs[0].requests_per_cpu_s / 1000 if small else theirs[0].gb_per_cpu_s)
    at, width = bar
    axes.hlines(value, at - width * 0.62, at + width * 0.62, color=TARGET, linewidth=1.8)


def _tick(comparison: Comparison, case: Case) -> str:
    ratio = next((r.ratio for r in comparison.rows if (r.contender, r.case) == ("forebay", case)), None)
    return f"{case.name}\n{ratio.median:.2f}x" if ratio else case.name


def _draw_legend(figure: Figure, comparison: Comparison) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - an extra, and slow to load
    from matplotlib.patches import Patch  # noqa: PLC0415

    names = list(dict.fromkeys(row.contender for row in comparison.rows))
    marks: list[Patch | Line2D] = [Patch(color=_COLORS.get(name, FAINT), label=name) for name in names]
    if comparison.reference == "nginx" and comparison.engine == "raw":
        marks.append(Line2D([], [], color=TARGET, linewidth=1.8, label="line for forebay"))
    figure.legend(
        handles=marks, loc="upper right", bbox_to_anchor=(0.975, 0.975), ncols=len(marks), frameon=False, fontsize=9,
        labelcolor=INK, handlelength=1.2, columnspacing=1.3, borderaxespad=0,
    )  # fmt: skip
