from __future__ import annotations

from bench.lines.document import FORMAT, LinesResult
from bench.lines.verdict import at_least, at_most
from bench.report.lines import render_lines
from tests.unit.bench.report.a_result import MACHINE


def test_the_page_says_what_holds_and_what_does_not() -> None:
    verdicts = [at_most("5", "restart <b>", 0.5, 1.0, "s"), at_least("1", "hits", 0.5, 0.9, "x")]
    page = render_lines(LinesResult(FORMAT, "now", MACHINE, 0.1, 5, verdicts, [], {}, {"clients": "no crt"}))
    for words in ("1 of 2 lines met", "restart &lt;b&gt;", '<td class="bad">unmet</td>', "no crt", "do not count"):
        assert words in page
    assert page.index("hits") < page.index("restart")
