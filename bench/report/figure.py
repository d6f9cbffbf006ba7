"""The frame that all plots share: size, colours, title, one subtitle line, the machine at the foot.

Needs matplotlib (``forebay[bench]``), drawn by its Agg backend without a display and without touching pyplot's global
state. Loaded when a plot is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK: Final = "#1f2933"
FAINT: Final = "#7b8794"
GRID: Final = "#e4e7eb"
WATER: Final = "#0b69a3"
STONE: Final = "#a0aec0"
TARGET: Final = "#c05621"
SAGE: Final = "#8fb59b"
AMBER: Final = "#d9b26f"
PLUM: Final = "#b39dbb"


def new_figure(width: float = 10.0, height: float = 5.0, *, panels: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure in inches with one or more panels side by side. Raises ValueError where matplotlib is missing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra, and slow to load
        from matplotlib.figure import Figure as NewFigure  # noqa: PLC0415
    except ImportError as fault:
        raise ValueError("a plot needs matplotlib; install forebay[bench]") from fault
    figure = NewFigure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.075, right=0.975, top=0.80, bottom=0.17, wspace=0.2)
    axes = [figure.add_subplot(1, panels, index + 1) for index in range(panels)]
    for each in axes:
        _calm(each)
    return figure, axes


def label_figure(figure: Figure, *, title: str, subtitle: str, foot: str) -> None:
    """Write what the figure shows above it, and where it was measured below it."""
    figure.text(0.075, 0.93, title, fontsize=15, fontweight="bold", color=INK)
    figure.text(0.075, 0.868, subtitle, fontsize=9.5, color=FAINT)
    figure.text(0.075, 0.03, foot, fontsize=8, color=FAINT)


def _calm(axes: Axes) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(colors=INK, length=0, labelsize=9)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
