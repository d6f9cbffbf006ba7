from __future__ import annotations

import io

from rich.console import Console

from bench.lines.verdict import at_least, at_most
from bench.report.verdicts import cells, print_verdicts


def test_a_line_as_texts() -> None:
    assert cells(at_least("1", "hits", 0.876, 0.9, "x", note="0.8-0.9")) == [
        "1", "hits", "0.876x (0.8-0.9)", "≥ 0.9x", "unmet",
    ]  # fmt: skip
    assert cells(at_most("5", "restart", 0.5, 1.0, "s"))[2:] == ["0.5 s", "≤ 1 s", "met"]


def test_nothing_is_printed_where_there_is_nothing() -> None:
    out = io.StringIO()
    print_verdicts(Console(file=out), [])
    assert out.getvalue() == ""
    print_verdicts(Console(file=out), [at_most("5", "restart", 0.5, 1.0, "s")])
    assert "restart" in out.getvalue()
