"""The plot of a run: throughput over time beside the target, as a PNG.

The strong line is the mean over about a second (less in a short run, more in a very long one), the faint one every
interval. The target line is what all GPUs together should get; where the run stays far below, the axis still shows
it, because that distance is the message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.report.figure import FAINT, INK, TARGET, WATER, label_figure, new_figure
from bench.report.table import describe_machine, describe_shape
from bench.result import Result
from bench.timeline import coarsen

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS_MAX: Final = 240
_POINTS_FEW: Final = 20


def draw_result(result: Result, path: str) -> None:
    """Write the PNG. Raises ValueError where matplotlib is missing, OSError where the file cannot be written."""
    figure, (axes,) = new_figure()
    _draw_throughput(axes, result)
    _draw_target(axes, result)
    axes.set_xlabel("seconds", color=INK)
    axes.set_ylabel("GB/s", color=INK)
    axes.set_xlim(0, result.rates.window_s)
    label_figure(figure, title=_title(result), subtitle=_subtitle(result), foot=describe_machine(result.machine))
    figure.savefig(path, dpi=160, format="png")


def _title(result: Result) -> str:
    each = result.per_gpu
    gpus = f"{each.gpus} GPUs" if each.gpus > 1 else "1 GPU"
    return (
        f"{result.rates.gb_per_s:.2f} GB/s for {gpus}: {each.gb_per_s:.2f} GB/s per GPU, "
        f"{each.target_share:.0%} of {each.target_gb_per_s:g} GB/s"
    )


def _subtitle(result: Result) -> str:
    latency = result.latency
    errors = f"{result.failed:,} errors" if result.failed else "no errors"
    latencies = f"p50 {latency.p50_ms:.3g} ms, p99 {latency.p99_ms:.3g} ms"
    return f"{describe_shape(result)}  ·  latency {latencies}  ·  {errors}"


def _draw_throughput(axes: Axes, result: Result) -> None:
    fine = result.rates.interval_gb_per_s
    step = result.rates.interval_s
    group = max(-(-len(fine) // POINTS_MAX), min(10, len(fine) // _POINTS_FEW), 1)
    coarse = [value / group for value in coarsen(fine, group)]
    if group > 1:
        axes.plot([(at + 0.5) * step for at in range(len(fine))], fine, color=WATER, alpha=0.3, linewidth=0.7)
    edges = [at * group * step for at in range(len(coarse) + 1)]
    axes.stairs(coarse, edges, color=WATER, linewidth=2, label=_label(group * step))
    axes.stairs(coarse, edges, color=WATER, alpha=0.10, fill=True)


def _label(seconds: float) -> str:
    return f"mean over {seconds * 1000:.0f} ms" if seconds < 0.95 else f"mean over {seconds:.3g} s"


def _draw_target(axes: Axes, result: Result) -> None:
    each = result.per_gpu
    total = each.target_gb_per_s * each.gpus
    times = f"{each.gpus} GPUs at {each.target_gb_per_s:g} GB/s" if each.gpus > 1 else f"{total:g} GB/s"
    axes.axhline(total, color=TARGET, linewidth=1.5, linestyle=(0, (5, 3)), label=f"target, {times}")
    mean = result.rates.gb_per_s
    axes.axhline(mean, color=FAINT, linewidth=1, linestyle=(0, (1, 2)), label=f"mean of the run, {mean:.2f} GB/s")
    top = max(total, *result.rates.interval_gb_per_s)
    axes.set_ylim(0, top * 1.05 or 1)
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, 1.11), ncols=3, frameon=False, fontsize=9, labelcolor=INK)
