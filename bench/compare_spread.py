"""Two sets of measurements: by how much they differ, and whether their spread allows to say so.

Distribution-free, because throughput on a shared machine is anything but normal, and without dice, so that the same
files give the same verdict. The estimate is Hodges and Lehmann's, in ratios: the median of all pairwise ratios. Its
interval are the order statistics of those ratios that the distribution of Mann and Whitney's U allows at 95 %; it
excludes 1 exactly where their two-sided test finds a difference at 5 %. U's distribution is counted exactly where the
sets are small, and normal where both are large (Hollander, Wolfe and Chicken, *Nonparametric Statistical Methods*, 4.1
to 4.3). Three values against three can never reach 5 %: then there is no interval, and nobody may claim a difference.
Sans-IO.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, median
from typing import Final

CONFIDENCE: Final = 0.95
_EXACT_PAIRS_MAX: Final = 900


@dataclass(frozen=True, slots=True)
class Ratio:
    """The second set over the first: the estimate, and its interval; None where there are too few values for one."""

    estimate: float
    interval: tuple[float, float] | None

    @property
    def differs(self) -> bool:
        """Whether the spread allows to say that the sets differ."""
        return self.interval is not None and not self.interval[0] <= 1.0 <= self.interval[1]


def ratio_of(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """How ``second`` compares with ``first``. All values are more than 0. Raises ValueError otherwise."""
    if not first or not second or min(*first, *second) <= 0:
        raise ValueError("only amounts above 0 can be compared")
    ratios = sorted(theirs / ours for theirs in second for ours in first)
    outside = rank_outside(len(first), len(second))
    interval = (ratios[outside - 1], ratios[-outside]) if outside else None
    return Ratio(median(ratios), interval)


def rank_outside(first: int, second: int) -> int:
    """The k for which the k-th smallest and largest pairwise difference bound a 95 % interval; 0: there is none."""
    tail = (1 - CONFIDENCE) / 2
    pairs = first * second
    if pairs > _EXACT_PAIRS_MAX:
        spread = math.sqrt(pairs * (first + second + 1) / 12)
        return max(math.floor(pairs / 2 - NormalDist().inv_cdf(1 - tail) * spread), 0)
    arrangements = math.comb(first + second, first)
    below = 0
    for u, count in enumerate(arrangements_by_u(first, second)):
        below += count
        if below > tail * arrangements:
            return u
    return 0


@lru_cache(maxsize=64)
def arrangements_by_u(first: int, second: int) -> tuple[int, ...]:
    """In how many of all arrangements of both sets U is 0, 1, 2 …: the coefficients of the Gaussian binomial."""
    counts = [1] + [0] * (first * second)
    for size in range(1, first + 1):
        for at in range(len(counts) - 1, second + size - 1, -1):  # times (1 - q^(second + size))
            counts[at] -= counts[at - second - size]
        for at in range(size, len(counts)):  # over (1 - q^size)
            counts[at] += counts[at - size]
    return tuple(counts)
