from __future__ import annotations

from bench.lines.verdict import at_least, at_most


def test_a_bound_is_within_the_line() -> None:
    assert at_least("1", "work", 0.9, 0.9).met
    assert not at_least("1", "work", 0.89, 0.9).met
    assert at_most("5", "restart", 1.0, 1.0, "s").met
    assert not at_most("5", "restart", 1.01, 1.0, "s").met
