"""HTTP ranges end here: a Range header becomes a question, and with a size the half-open span that answers it.

One range of bytes in ASCII digits, at most 19 of them. What S3 does not serve as a range (several ranges, another
unit, a reversed or malformed one) is None: the whole object is the answer then. A well-formed range that holds no byte
of the object is RangeOutside (416); any range of an empty object is. RFC 9110, section 14; S3's GetObject.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cache.faults import RangeOutside
from cache.versions import ByteSpan

_RANGE: Final = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes ``first`` to ``last``, both included. No ``first``: the final ``last`` bytes. No ``last``: to the end."""

    first: int | None
    last: int | None

    def resolve(self, size: int) -> ByteSpan:
        """The span of an object of ``size`` bytes. Raises RangeOutside."""
        if self.first is None:
            start, stop = max(0, size - (self.last or 0)), size
        else:
            start, stop = self.first, size if self.last is None else min(self.last + 1, size)
        if start >= stop:
            raise RangeOutside(size)
        return ByteSpan(start, stop)


def parse_range(header: str) -> Range | None:
    """The one range that the header asks for, or None when the header counts as absent."""
    asked = _RANGE.fullmatch(header.strip(" \t"))
    if asked is None:
        return None
    first = int(asked[1]) if asked[1] else None
    last = int(asked[2]) if asked[2] else None
    if first is None and last is None:
        return None
    if first is not None and last is not None and first > last:
        return None
    return Range(first, last)
