"""Axes that show the data: where they end, where their ticks stand, and what becomes of a target that is far above.

An axis of amounts starts at zero, always. It ends a little above what was measured. A target within reach of that (up
to ``REACH`` times the largest value) belongs on the axis, and the axis ends above it. One that is farther away would
press the curve onto the floor: then the axis ends above the data, the target is drawn at the upper edge as *off the
axis*, with its value and how many times higher it is, and its share is shown true to scale elsewhere. Nobody is misled,
and the curve can be read. Durations spread over decades, so their axis is logarithmic. Sans-IO; both kinds of plots,
PNG and HTML, ask here, so they agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

REACH: Final = 1.8
_ROOM: Final = 1.12
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis from 0 to ``top``. ``target_above``: 0 where the target is on it, else target over ``highest`` value."""

    top: float
    ticks: tuple[float, ...]
    highest: float
    target_above: float


def amount_axis(values: Sequence[float], target: float | None = None, *, ticks: int = 5) -> Axis:
    """The axis for ``values``, and for ``target`` where it is within reach."""
    highest = max(values, default=0.0)
    fits = target is not None and target <= highest * REACH
    if target is not None and highest <= 0:  # nothing was measured: the target is all there is to show
        fits = True
    top = max(highest, target if fits and target is not None else 0.0) * _ROOM or 1.0
    above = target / highest if target is not None and not fits else 0.0
    return Axis(top, _ticks(top, ticks), highest, above)


def log_ticks(smallest: float, largest: float) -> tuple[float, ...]:
    """Round values between two that are more than 0: 1, 2 and 5 of each decade, or the decades alone."""
    first, last = math.floor(math.log10(smallest)), math.ceil(math.log10(largest))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    marks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return tuple(mark for mark in marks if smallest * 0.999 <= mark <= largest * 1.001)


def log_position(value: float, smallest: float, largest: float) -> float:
    """Where ``value`` stands between ``smallest`` (0.0) and ``largest`` (1.0) of a logarithmic axis, clipped to it."""
    if largest <= smallest:
        return 0.5
    share = math.log(max(value, smallest) / smallest) / math.log(largest / smallest)
    return min(max(share, 0.0), 1.0)


def render_number(value: float) -> str:
    """Three digits, thousands with a comma, no exponent: ``0.0125``, ``3.14``, ``1,250``."""
    if value == 0:
        return "0"
    digits = max(2 - math.floor(math.log10(abs(value))), 0)
    text = f"{value:,.{min(digits, 9)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rate_unit(highest_gb_per_s: float) -> tuple[str, float]:
    """The unit in which an axis of GB/s is written: its name, and how many of it are one GB/s."""
    return ("GB/s", 1.0) if highest_gb_per_s >= 0.5 else ("MB/s", 1000.0)


def render_ms(milliseconds: float) -> str:
    """A duration for people: ``85 µs``, ``3.2 ms``, ``1.5 s``."""
    if milliseconds < 1:
        return f"{render_number(milliseconds * 1000)} µs"
    if milliseconds < 1000:
        return f"{render_number(milliseconds)} ms"
    return f"{render_number(milliseconds / 1000)} s"


def _ticks(top: float, count: int) -> tuple[float, ...]:
    rough = top / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in _STEPS if power * each >= rough * 0.999)
    return tuple(index * step for index in range(int(top / step) + 1))
