"""The plot of a run: throughput over time beside the target, as a PNG.

The strong line is the mean over about a second (less in a short run, more in a very long one), the faint one every
interval. The target line is what all GPUs together should get. Where it is out of reach of what was measured, it is
drawn at the upper edge as off the axis, with how many times higher it is (``bench/report/scale.py``); the title says
the same in words, and the bar below the title to scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.report.figure import FAINT, GRID, INK, TARGET, WATER, label_figure, new_figure
from bench.report.scale import amount_axis, rate_unit, render_ms, render_number
from bench.report.table import describe_machine, describe_shape
from bench.result import Result
from bench.timeline import coarsen
from gateway.quantities import render_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.report.scale import Axis

POINTS_MAX: Final = 240
_POINTS_FEW: Final = 20


def draw_result(result: Result, path: str) -> None:
    """Write the PNG. Raises ValueError where matplotlib is missing, OSError where the file cannot be written."""
    figure, (axes,) = new_figure(height=5.4)
    figure.subplots_adjust(top=0.70, right=0.88, left=0.075, bottom=0.16)
    values = _draw_throughput(axes, result)
    axis = amount_axis(values, result.per_gpu.target_gb_per_s * result.per_gpu.gpus)
    axes.set_xlabel("seconds", color=INK)
    unit, times = rate_unit(axis.top)
    axes.set_ylabel(unit, color=INK)
    axes.set_xlim(0, result.rates.window_s)
    axes.set_ylim(0, axis.top)
    axes.set_yticks(axis.ticks, [render_number(tick * times) for tick in axis.ticks])
    _draw_marks(axes, result, axis)
    _draw_share(figure, result)
    label_figure(figure, title=_title(result), subtitle=_subtitle(result), foot=describe_machine(result.machine))
    figure.savefig(path, dpi=160, format="png")


def _title(result: Result) -> str:
    each = result.per_gpu
    share = f"{each.target_share:.0%}" if each.target_share >= 0.1 else f"{each.target_share:.1%}"
    return (
        f"{render_rate(each.gb_per_s * 1e9)} per GPU, {share} of the {render_rate(each.target_gb_per_s * 1e9)} target"
    )


def _subtitle(result: Result) -> str:
    latency = result.latency
    errors = f"{result.failed:,} errors" if result.failed else "no errors"
    latencies = f"p50 {render_ms(latency.p50_ms)}, p99 {render_ms(latency.p99_ms)}"
    return f"{describe_shape(result)}  ·  latency {latencies}  ·  {errors}"


def _draw_throughput(axes: Axes, result: Result) -> list[float]:
    """Draw the curve; the values that the axis must hold."""
    fine = result.rates.interval_gb_per_s
    step = result.rates.interval_s
    group = max(-(-len(fine) // POINTS_MAX), min(10, len(fine) // _POINTS_FEW), 1)
    coarse = [value / group for value in coarsen(fine, group)]
    if group > 1:
        axes.plot([(at + 0.5) * step for at in range(len(fine))], fine, color=WATER, alpha=0.3, linewidth=0.7)
    edges = [at * group * step for at in range(len(coarse) + 1)]
    axes.stairs(coarse, edges, color=WATER, linewidth=2, label=_label(group * step))
    axes.stairs(coarse, edges, color=WATER, alpha=0.10, fill=True)
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, -0.07), frameon=False, fontsize=8.5, labelcolor=FAINT)
    return fine


def _label(seconds: float) -> str:
    return f"mean over {seconds * 1000:.0f} ms" if seconds < 0.95 else f"mean over {seconds:.3g} s"


def _draw_marks(axes: Axes, result: Result, axis: Axis) -> None:
    """The mean, and the target: on the axis, or above it with an arrow that says so."""
    mean, target = result.rates.gb_per_s, result.per_gpu.target_gb_per_s * result.per_gpu.gpus
    axes.axhline(mean, color=INK, linewidth=1, linestyle=(0, (1, 2)))
    near = not axis.target_above and abs(mean - target) < axis.top * 0.06
    between = " " if near else "\n"
    lift = axis.top * 0.03 * near * (1 if mean >= target else -1)
    _name(axes, mean + lift, f"mean{between}{render_rate(mean * 1e9)}", INK)
    if not axis.target_above:
        axes.axhline(target, color=TARGET, linewidth=1.6, linestyle=(0, (5, 3)))
        _name(
            axes,
            target - lift,
            f"target{between}{render_rate(target * 1e9)}",
            TARGET,
        )
        return
    axes.axhline(axis.top, color=TARGET, linewidth=1.6, linestyle=(0, (5, 3)), clip_on=False)
    times = render_number(axis.target_above)
    above = f"target {render_rate(target * 1e9)} is above this axis: {times} times the highest value"
    axes.annotate(
        above,
        (0.5, 1.0),
        (0.5, 1.035),
        xycoords="axes fraction",
        ha="center",
        color=TARGET,
        fontsize=9,
        fontweight="bold",
    )
    axes.plot([0.02, 0.98], [1.022, 1.022], "^", transform=axes.transAxes, color=TARGET, markersize=7, clip_on=False)


def _name(axes: Axes, height: float, words: str, color: str) -> None:
    """Words at the right of a line across."""
    axes.annotate(
        words,
        (1.0, height),
        (6, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        color=color,
        fontsize=9,
        fontweight="bold",
    )


def _draw_share(figure: Figure, result: Result) -> None:
    """A slim bar below the title: what each GPU gets beside its target, to scale from zero."""
    each = result.per_gpu
    largest = max(each.gb_per_s, each.target_gb_per_s) or 1.0
    bar = figure.add_axes((0.075, 0.805, 0.805, 0.022))
    bar.barh([0], [each.target_gb_per_s], color=GRID, height=1)
    bar.barh([0], [each.gb_per_s], color=WATER, height=1)
    bar.axvline(each.target_gb_per_s, color=TARGET, linewidth=2)
    bar.set_xlim(0, largest)
    bar.set_ylim(-0.5, 0.5)
    bar.set_axis_off()
    words = f"{render_rate(each.gb_per_s * 1e9)} of\n{render_rate(each.target_gb_per_s * 1e9)}"
    _name(bar, 0, words, INK)
