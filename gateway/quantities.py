"""Quantities: how people write sizes and rates, as numbers.

A size is a whole number of bytes: ``8MiB``, ``64GB``, ``1.5 TiB``, ``8388608``. ``k M G T P`` are powers of 1000,
``Ki Mi Gi Ti Pi`` powers of 1024 (IEC 80000-13); the ``B`` may be left out and case does not matter. A rate is bytes
per second: ``7GB/s``, or a plain number. Bits are refused in a rate, where ``Gb/s`` and ``GB/s`` differ by eight and
both are common. Settings, identities and the harness all read their figures here, so that one spelling means one
number everywhere.
"""

from __future__ import annotations

import re
from typing import Final

_NUMBER: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)(b?)\s*", re.IGNORECASE | re.ASCII)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SIZE_HELP: Final = "write a size such as 8MiB, 64GB or 1048576"
_RATE_HELP: Final = "write a rate in bytes per second, such as 7GB/s"


def _amount(text: str) -> float | None:
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    number, prefix, binary, _ = match.groups()
    if binary and not prefix:
        return None
    return float(number) * (1024.0 if binary else 1000.0) ** _POWERS[prefix.lower()]


def parse_bytes(value: object) -> int:
    """A size in bytes, from ``8MiB`` or a whole number. Raises ValueError, which says how to write one."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    amount = _amount(value) if isinstance(value, str) else None
    if amount is None or amount != int(amount):
        raise ValueError(f"{value!r} is no size; {_SIZE_HELP}")
    return int(amount)


def parse_rate(value: object) -> float:
    """A rate in bytes per second, from ``7GB/s`` or a number. Raises ValueError, which says how to write one."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    text = value.strip() if isinstance(value, str) else ""
    amount = _amount(text.removesuffix("/s"))
    if amount is None or text.removesuffix("/s").rstrip().endswith("b"):
        raise ValueError(f"{value!r} is no rate; {_RATE_HELP}")
    return amount


def _three_digits(number: float) -> str:
    return f"{number:.3g}" if number < 99.95 else f"{number:.0f}"


def render_bytes(count: float) -> str:
    """``count`` bytes for people, in powers of 1024: ``8 MiB``, ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024:
            return f"{_three_digits(count)} {unit}"
        count /= 1024
    return f"{_three_digits(count)} PiB"


def render_rate(rate: float) -> str:
    """``rate`` bytes per second for people, in powers of 1000: ``7 GB/s``."""
    for unit in ("B/s", "kB/s", "MB/s", "GB/s"):
        if rate < 1000:
            return f"{_three_digits(rate)} {unit}"
        rate /= 1000
    return f"{_three_digits(rate)} TB/s"
