"""The page of the lines: every line with its figure, met or unmet, the machine, and what could not be measured."""

from __future__ import annotations

from collections.abc import Iterator

from bench.lines.document import LinesResult
from bench.report import page
from bench.report.html import machine_table
from bench.report.verdicts import cells


def render_lines(result: LinesResult) -> str:
    """The whole HTML page."""
    return page.render_page("The lines of Forebay's speed · forebay bench", _parts(result))


def _parts(result: LinesResult) -> Iterator[str]:
    met = sum(verdict.met for verdict in result.verdicts)
    yield page.headline(f"{met} of {len(result.verdicts)} lines met", f"{result.rounds} rounds, {result.started}")
    if result.scale != 1:
        yield page.paragraph(f"A trial at scale {result.scale:g}: these figures do not count.", "bad")
    verdicts = sorted(result.verdicts, key=lambda verdict: verdict.group)
    styles = ["good" if verdict.met else "bad" for verdict in verdicts]
    yield page.table(("", "what", "measured", "line", ""), [cells(each) for each in verdicts], words=2, styles=styles)
    if result.failed:
        yield page.heading("Not measured")
        yield page.facts(list(result.failed.items()))
    yield page.heading("Machine")
    yield machine_table(result.machine)
    if result.command:
        yield page.heading("To repeat it")
        yield page.command(result.command)
