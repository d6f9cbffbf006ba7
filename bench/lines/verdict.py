"""A line and the figure that was measured for it: what must hold, what came, and whether it holds.

A line is a bound from above or from below on one figure. The group is the number under which the list of lines has it.
Sans-IO.
"""

from __future__ import annotations

import msgspec


class Verdict(msgspec.Struct, frozen=True):
    """``at_least``: the figure must not be below the bound; else it must not be above it. ``note``: for people."""

    group: str
    what: str
    figure: float
    bound: float
    unit: str = ""
    at_least: bool = False
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the line holds."""
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound


def at_least(group: str, what: str, figure: float, bound: float, unit: str = "", *, note: str = "") -> Verdict:
    """``figure`` must reach ``bound``."""
    return Verdict(group, what, figure, bound, unit, at_least=True, note=note)


def at_most(group: str, what: str, figure: float, bound: float, unit: str = "", *, note: str = "") -> Verdict:
    """``figure`` must stay within ``bound``."""
    return Verdict(group, what, figure, bound, unit, note=note)
