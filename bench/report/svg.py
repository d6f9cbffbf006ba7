"""Vector drawings as text: the few marks that the charts of the HTML report are made of.

A mark gets a class, never a colour: the page's style sheet has one palette for light and one for dark. Text is escaped.
Coordinates are pixels from the upper left corner; numbers are written with two decimals at most, so that a report of a
long run stays small. A ``title`` is what a browser shows when the pointer rests on the mark. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

Point = tuple[float, float]


def drawing(width: float, height: float, marks: Iterable[str], *, label: str) -> str:
    """A drawing that scales with the page; ``label`` is what it shows, for those who cannot see it."""
    inside = "".join(marks)
    return f'<svg viewBox="0 0 {_n(width)} {_n(height)}" role="img" aria-label="{escape(label)}">{inside}</svg>'


def line(start: Point, stop: Point, style: str) -> str:
    """A straight line."""
    (x1, y1), (x2, y2) = start, stop
    return f'<line x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}" class="{style}"/>'


def path(points: Sequence[Point], style: str, *, closed: bool = False) -> str:
    """A line through ``points``; ``closed``: an area."""
    steps = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
    return f'<{"polygon" if closed else "polyline"} points="{steps}" class="{style}"/>'


def rectangle(corner: Point, width: float, height: float, style: str, *, title: str = "") -> str:
    """A filled rectangle from its upper left corner."""
    x, y = corner
    size = f'width="{_n(max(width, 0))}" height="{_n(max(height, 0))}"'
    return f'<rect x="{_n(x)}" y="{_n(y)}" {size} class="{style}">{_title(title)}</rect>'


def text(at: Point, words: str, style: str = "", *, anchor: str = "start") -> str:
    """Words that start, end or have their middle at a point of their base line."""
    x, y = at
    return f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" class="{style}">{escape(words)}</text>'


def dot(at: Point, radius: float, style: str, *, title: str = "") -> str:
    """A filled circle."""
    x, y = at
    return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}" class="{style}">{_title(title)}</circle>'


def _title(words: str) -> str:
    return f"<title>{escape(words)}</title>" if words else ""


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
