"""The charts of a run, as vector drawings: throughput over time, and the distribution of latencies.

Throughput is a step for every interval (a mean over several where there are more than fit), with the mean of the run
and the target; axes are ``bench/report/scale.py``'s. Latency is shown twice, because each view hides what the other
shows: how often each duration occurred, on a logarithmic axis, and which duration each share of the requests stayed
within, on an axis that gives every further nine of the share the same room (as HdrHistogram draws it). Sans-IO.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.histogram import Histogram, bucket_end
from bench.recorder import Durations
from bench.report import svg
from bench.report.scale import Axis, amount_axis, log_position, log_ticks, rate_unit, render_ms, render_number
from bench.result import Latency, Result
from bench.timeline import coarsen
from gateway.quantities import render_rate

STEPS_MAX: Final = 200
_MS: Final = 1e6
_BARS: Final = 72
_LABEL_APART: Final = 15.0


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a chart's data lies in its drawing."""

    width: float
    height: float
    left: float = 52.0
    right: float = 16.0
    top: float = 16.0
    bottom: float = 40.0

    def x(self, share: float) -> float:
        """From the left edge (0.0) to the right one (1.0)."""
        return self.left + share * (self.width - self.left - self.right)

    def y(self, share: float) -> float:
        """From the floor (0.0) to the upper edge (1.0)."""
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)


def draw_throughput(result: Result) -> str:
    """GB/s over time, with the mean and the target of all GPUs together."""
    frame = Frame(960, 300, right=122, top=50)
    values, step_s = steps_of(result)
    target = result.per_gpu.target_gb_per_s * result.per_gpu.gpus
    axis = amount_axis(values, target)
    seconds = max(result.rates.window_s, 1e-9)
    marks = [
        *_floor(frame, seconds),
        *_levels(frame, axis),
        *_stairs(frame, axis, values, step_s / seconds),
        *_marked(frame, axis, result.rates.gb_per_s, target),
    ]
    return svg.drawing(frame.width, frame.height, marks, label="throughput over time, GB/s")


def steps_of(result: Result) -> tuple[list[float], float]:
    """GB/s by step of equal length, and that length in seconds; as many steps as a chart can show."""
    fine, step_s = result.rates.interval_gb_per_s, result.rates.interval_s
    group = max(-(-len(fine) // STEPS_MAX), 1)
    return [value / group for value in coarsen(fine, group)], step_s * group


def _floor(frame: Frame, seconds: float) -> Iterator[str]:
    yield svg.line((frame.x(0), frame.y(0)), (frame.x(1), frame.y(0)), "axis")
    axis = amount_axis([seconds], ticks=8)
    for tick in axis.ticks:
        if tick <= seconds * 1.0001:
            yield svg.text((frame.x(tick / seconds), frame.y(0) + 16), render_number(tick), "tick", anchor="middle")
    yield svg.text((frame.x(1), frame.height - 6), "seconds", "tick", anchor="end")


def _levels(frame: Frame, axis: Axis) -> Iterator[str]:
    unit, times = rate_unit(axis.top)
    for tick in axis.ticks:
        height = frame.y(tick / axis.top)
        if tick:
            yield svg.line((frame.x(0), height), (frame.x(1), height), "grid")
        yield svg.text((frame.left - 8, height + 4), render_number(tick * times), "tick", anchor="end")
    yield svg.text((frame.left - 8, frame.y(1) - 8), unit, "tick", anchor="end")


def _stairs(frame: Frame, axis: Axis, values: Sequence[float], step: float) -> Iterator[str]:
    outline: list[svg.Point] = []
    for index, value in enumerate(values):
        height = frame.y(value / axis.top)
        outline += [(frame.x(index * step), height), (frame.x(min((index + 1) * step, 1.0)), height)]
    if outline:
        area = [(outline[0][0], frame.y(0)), *outline, (outline[-1][0], frame.y(0))]
        yield svg.path(area, "area", closed=True)
        yield svg.path(outline, "curve")


def _marked(frame: Frame, axis: Axis, mean: float, target: float) -> Iterator[str]:
    """The mean and the target as lines across, named at the right; a target off the axis at the upper edge."""
    mean_y, target_y = frame.y(mean / axis.top), frame.y(target / axis.top)
    yield svg.line((frame.x(0), mean_y), (frame.x(1), mean_y), "mean")
    shift = 0.0
    if axis.target_above:
        yield from _off_axis(frame, axis, target)
    else:
        yield svg.line((frame.x(0), target_y), (frame.x(1), target_y), "target")
        shift = _apart(target_y, mean_y)
        words = f"target {render_rate(target * 1e9)}"
        yield svg.text((frame.x(1) + 8, target_y + 4 + shift), words, "target-label")
    yield svg.text((frame.x(1) + 8, mean_y + 4 - shift), f"mean {render_rate(mean * 1e9)}", "mean-label")


def _apart(first: float, second: float) -> float:
    """How far the first label moves (the second one against it) so that both can be read."""
    missing = max(_LABEL_APART - abs(first - second), 0.0) / 2
    return missing if first >= second else -missing


def _off_axis(frame: Frame, axis: Axis, target: float) -> Iterator[str]:
    edge = frame.y(1) - 12
    yield svg.line((frame.x(0), edge), (frame.x(1), edge), "target off")
    for share in (0.02, 0.98):
        at = frame.x(share)
        yield svg.path([(at - 6, edge), (at, edge - 11), (at + 6, edge)], "target-head", closed=True)
    words = f"the target, {render_rate(target * 1e9)}, is above this axis: {render_number(axis.target_above)} times"
    yield svg.text((frame.x(0.5), edge - 8), f"{words} the highest value measured", "target-label", anchor="middle")


def draw_latencies(buckets: Durations, latency: Latency) -> str:
    """How often each duration occurred."""
    frame = Frame(470, 280, top=44)
    smallest, largest = range_of(buckets)
    counts = _rebinned(buckets, smallest, largest)
    most = max(counts, default=0) or 1
    width = frame.x(1) - frame.x(0)
    marks = [svg.line((frame.x(0), frame.y(0)), (frame.x(1), frame.y(0)), "axis"), *_decades(frame, smallest, largest)]
    for index, count in enumerate(counts):
        corner = (frame.x(index / _BARS), frame.y(count / most))
        title = f"{count:,} requests"
        marks.append(svg.rectangle(corner, width / _BARS - 1, frame.y(0) - corner[1], "bar", title=title))
    marks += _percentile_marks(frame, latency, smallest, largest)
    return svg.drawing(frame.width, frame.height, marks, label="how often each latency occurred")


def range_of(buckets: Durations) -> tuple[float, float]:
    """The ends, in ms, of a logarithmic axis that holds every duration that was counted."""
    ends = [max(bucket_end(bucket), 1) / _MS for bucket in buckets.buckets]
    smallest, largest = min(ends, default=1.0), max(ends, default=1.0)
    return smallest * 0.85, max(largest, smallest * 1.5) * 1.15


def _rebinned(buckets: Durations, smallest: float, largest: float) -> list[int]:
    counts = [0] * _BARS
    for bucket, count in buckets.buckets.items():
        share = log_position(max(bucket_end(bucket), 1) / _MS, smallest, largest)
        counts[min(int(share * _BARS), _BARS - 1)] += count
    return counts


def _decades(frame: Frame, smallest: float, largest: float) -> Iterator[str]:
    for tick in log_ticks(smallest, largest):
        at = frame.x(log_position(tick, smallest, largest))
        yield svg.line((at, frame.y(0)), (at, frame.y(0) + 4), "axis")
        yield svg.text((at, frame.y(0) + 18), render_ms(tick), "tick", anchor="middle")


def _percentile_marks(frame: Frame, latency: Latency, smallest: float, largest: float) -> Iterator[str]:
    marks = (("p50", latency.p50_ms), ("p99", latency.p99_ms), ("p99.9", latency.p999_ms), ("max", latency.max_ms))
    free_from = -math.inf
    for name, value in marks:
        at = frame.x(log_position(value, smallest, largest))
        yield svg.line((at, frame.y(1) - 4), (at, frame.y(0)), "mark")
        if at > free_from:  # where marks crowd, the table beside the chart has the figures
            yield svg.text((at, frame.y(1) - 24), name, "mark-name", anchor="middle")
            yield svg.text((at, frame.y(1) - 9), render_ms(value), "mark-label", anchor="middle")
            free_from = at + 58


def draw_percentiles(curves: Sequence[tuple[str, Durations]]) -> str:
    """Which duration each share of the requests stayed within; one curve for each name."""
    frame = Frame(470, 280, left=64, top=44)
    ranges = [range_of(buckets) for _, buckets in curves if buckets.buckets] or [(1.0, 10.0)]
    smallest, largest = min(low for low, _ in ranges), max(high for _, high in ranges)
    count = max((sum(buckets.buckets.values()) for _, buckets in curves), default=1)
    nines = max(math.ceil(math.log10(max(count, 10))), 2)
    marks = [svg.line((frame.x(0), frame.y(0)), (frame.x(1), frame.y(0)), "axis"), *_nines(frame, nines)]
    for tick in log_ticks(smallest, largest):
        height = frame.y(log_position(tick, smallest, largest))
        marks.append(svg.line((frame.x(0), height), (frame.x(1), height), "grid"))
        marks.append(svg.text((frame.left - 8, height + 4), render_ms(tick), "tick", anchor="end"))
    for index, (name, buckets) in enumerate(curves):
        points = [
            (frame.x(share), frame.y(log_position(value, smallest, largest)))
            for share, value in percentile_curve(buckets.histogram(), nines)
        ]
        marks.append(svg.path(points, f"curve c{index}"))
        at = frame.x(0) + 8 + index * 118
        marks.append(svg.line((at, 22), (at + 18, 22), f"curve c{index}"))
        marks.append(svg.text((at + 24, 26), name, "legend"))
    return svg.drawing(frame.width, frame.height, marks, label="latency by percentile")


def percentile_curve(histogram: Histogram, nines: int) -> list[tuple[float, float]]:
    """(share of the axis, ms): an even walk along an axis on which 90, 99, 99.9 … % stand at equal distances."""
    if not histogram.count:
        return []
    shares = [index / (24 * nines) for index in range(24 * nines + 1)]
    return [(share, max(histogram.percentile(100 * (1 - 10 ** (-share * nines))), 1) / _MS) for share in shares]


def _nines(frame: Frame, nines: int) -> Iterator[str]:
    for index in range(nines + 1):
        percent = 100 * (1 - 10.0**-index)
        at = frame.x(index / nines)
        yield svg.line((at, frame.y(0)), (at, frame.y(0) + 4), "axis")
        if index < nines or nines < 5:
            anchor = "middle" if index < nines else "end"
            yield svg.text((at, frame.y(0) + 18), f"{percent:.{max(index - 2, 0)}f} %", "tick", anchor=anchor)
    yield svg.text((frame.x(1), frame.height - 4), "of the requests", "tick", anchor="end")
