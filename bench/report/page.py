"""The frame of an HTML report: one file that needs no other, no script and no network, and prints well.

Colours are variables with a value for light and one for dark; the reader's system chooses, and the charts follow, since
they are drawn in the page itself and styled by the same sheet. Text is escaped here, drawings come from
``bench/report/svg.py``. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import zip_longest
from typing import Final

_STYLE: Final = """
:root { color-scheme: light dark; --paper: #ffffff; --card: #f5f7fa; --ink: #1f2933; --faint: #616e7c; --grid: #dfe4ea;
  --water: #0b69a3; --water-soft: #0b69a322; --second: #7b4dbd; --target: #b8470f; --good: #1b7f4b; --bad: #b42318; }
@media (prefers-color-scheme: dark) { :root { --paper: #12181f; --card: #1b232d; --ink: #e6ebf1; --faint: #9aa8b7;
  --grid: #2f3a47; --water: #4fb3e8; --water-soft: #4fb3e82e; --second: #b69af0; --target: #f59e5b; --good: #4cc38a;
  --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 32px 24px 56px; }
h1 { font-size: 27px; line-height: 1.25; margin: 0 0 6px; letter-spacing: -0.01em; }
h2 { font-size: 17px; margin: 34px 0 10px; }
p { margin: 6px 0; } .faint { color: var(--faint); } .small { font-size: 13px; }
.good { color: var(--good); } .bad { color: var(--bad); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(142px, 1fr)); gap: 12px; margin: 22px 0 4px; }
.card { background: var(--card); border-radius: 10px; padding: 14px 16px; }
.card b { display: block; font-size: 22px; font-weight: 650; font-variant-numeric: tabular-nums; line-height: 1.25; }
.card span { color: var(--faint); font-size: 13px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); gap: 20px; }
figure { margin: 0; } figcaption { color: var(--faint); font-size: 13px; margin-top: 2px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: 5px 10px 5px 0; text-align: right; border-bottom: 1px solid var(--grid); font-weight: 400; }
th { color: var(--faint); font-size: 13px; } th.words, td.words { text-align: left; }
tr:last-child td { border-bottom: 0; } .facts td { text-align: left; vertical-align: top; }
.facts td:first-child { color: var(--faint); width: 190px; } .wide { overflow-x: auto; }
pre { background: var(--card); border-radius: 10px; padding: 12px 16px; overflow-x: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--ink); font-size: 12.5px; }
svg .tick, svg .legend, svg .mark-name { fill: var(--faint); font-size: 12px; } svg .mark-label { font-size: 12px; }
svg .axis { stroke: var(--faint); } svg .grid { stroke: var(--grid); }
svg .curve { fill: none; stroke: var(--water); stroke-width: 2; stroke-linejoin: round; }
svg .c1 { stroke: var(--second); stroke-dasharray: 5 3; } svg .c2 { stroke: var(--target); stroke-dasharray: 2 3; }
svg .area { fill: var(--water-soft); } svg .bar { fill: var(--water); } svg .rail { fill: var(--grid); }
svg .other { fill: var(--faint); opacity: 0.55; }
svg .mark { stroke: var(--ink); stroke-dasharray: 2 3; opacity: 0.55; }
svg .mean { stroke: var(--ink); stroke-dasharray: 2 3; }
svg .target { stroke: var(--target); stroke-width: 2; stroke-dasharray: 8 5; } svg .target-head { fill: var(--target); }
svg .target-label { fill: var(--target); font-weight: 600; }
svg .mean-label { font-weight: 600; }
img.plot { width: 100%; border-radius: 10px; margin-top: 16px; background: #fff; }
footer { margin-top: 36px; color: var(--faint); font-size: 13px; }
@media print { main { padding: 0; } .card, pre { border: 1px solid var(--grid); } }
"""


def render_page(title: str, parts: Iterable[str]) -> str:
    """The whole document; ``parts`` are HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def headline(words: str, *lines: str) -> str:
    """The page's first line, and what stands below it."""
    return f"<h1>{escape(words)}</h1>" + "".join(f'<p class="faint">{escape(line)}</p>' for line in lines)


def heading(words: str) -> str:
    """A section's title."""
    return f"<h2>{escape(words)}</h2>"


def paragraph(words: str, style: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{style}">{escape(words)}</p>'


def cards(figures: Sequence[tuple[str, str]]) -> str:
    """Large figures with what they are: (figure, words)."""
    made = (f'<div class="card"><b>{escape(figure)}</b><span>{escape(words)}</span></div>' for figure, words in figures)
    return f'<div class="cards">{"".join(made)}</div>'


def figures(*drawings: tuple[str, str]) -> str:
    """Drawings with their captions; two stand side by side where the page is wide enough."""
    made = "".join(
        f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>" for drawing, caption in drawings
    )
    return f'<div class="pair">{made}</div>' if len(drawings) > 1 else made


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1, styles: Sequence[str] = ()) -> str:
    """A table of text; the first ``words`` columns are words, the rest figures. ``styles``: of each row's last cell."""
    top = "".join(_cell("th", name, "words" if index < words else "") for index, name in enumerate(head))
    body = ""
    for row, last in zip_longest(rows, styles, fillvalue=""):
        cells = [_cell("td", text, "words" if index < words else "") for index, text in enumerate(row[:-1])]
        body += f"<tr>{''.join(cells)}{_cell('td', row[-1], last)}</tr>"
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(tag: str, text: str, style: str) -> str:
    named = f' class="{style}"' if style else ""
    return f"<{tag}{named}>{escape(text)}</{tag}>"


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Names and what they stand for, below each other."""
    body = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return f'<div class="wide"><table class="facts"><tbody>{body}</tbody></table></div>'


def command(words: str) -> str:
    """A command line to copy."""
    return f"<pre>{escape(words)}</pre>"
