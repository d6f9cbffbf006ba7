"""Quantiles of times that were sorted into the fixed buckets of ``layout``.

A quantile lies somewhere in its bucket, whose bounds differ by a factor of two; it is interpolated linearly there. Of
what lies in the last, open bucket only its lower bound is known, and that is given.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.meter.layout import BOUNDS_S


def quantile_s(counts: Sequence[int], share: float) -> float | None:
    """The time in seconds below which ``share`` (0 to 1) of the counted times lie; None when none was counted."""
    wanted = share * sum(counts)
    below = 0
    for bucket, count in enumerate(counts):
        if count and below + count >= wanted:
            return _within(bucket, max(wanted - below, 0.0) / count)
        below += count
    return None


def _within(bucket: int, part: float) -> float:
    low = BOUNDS_S[bucket - 1] if bucket else 0.0
    return low + (BOUNDS_S[bucket] - low) * part if bucket < len(BOUNDS_S) else low
