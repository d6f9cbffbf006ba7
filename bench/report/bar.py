"""The bar while a run prepares and runs: how far, how fast, and errors as soon as there are any.

Drawn by rich on stderr, so that stdout is the table alone; on no terminal, or with ``quiet``, nothing is drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from bench.client import Progress as Counted
from gateway.quantities import render_rate


@contextmanager
def preparing(console: Console, objects: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar over ``objects``; call it with how many are there."""
    with _progress(console, quiet=quiet) as progress:
        task = progress.add_task("preparing", total=objects, note="")
        yield lambda there: progress.update(task, completed=there, note=f"{there:,} of {objects:,} objects")


@contextmanager
def running(
    console: Console, duration_s: float, *, warmup_s: float = 0.0, quiet: bool
) -> Iterator[tuple[Callable[[], None], Callable[[Counted], None]]]:
    """A bar over ``duration_s``: call the first when that begins, the second with what was counted so far."""
    with _progress(console, quiet=quiet) as progress:
        task = progress.add_task("warming up" if warmup_s else "running", total=duration_s, note="")
        speed = _Speed()

        def begin() -> None:
            speed.begin()
            progress.update(task, description="running")

        def show(counted: Counted) -> None:
            progress.update(task, completed=min(speed.elapsed(), duration_s), note=speed.describe(counted))

        yield begin, show


class _Speed:
    """The rate between two progress reports, about a second apart."""

    def __init__(self) -> None:
        self._begin_s = self._last_s = time.monotonic()
        self._last = Counted(0, 0, 0)
        self._text = ""

    def begin(self) -> None:
        self._begin_s = self._last_s = time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic() - self._begin_s

    def describe(self, counted: Counted) -> str:
        now = time.monotonic()
        if now - self._last_s >= 1 or not self._text:
            seconds = max(now - self._last_s, 1e-3)
            requests = (counted.requests - self._last.requests) / seconds
            rate = render_rate((counted.bytes - self._last.bytes) / seconds)
            self._text = f"{rate}, {requests:,.0f} requests/s"
            self._last_s, self._last = now, counted
        return f"{self._text}[red]{f', {counted.failed:,} errors' if counted.failed else ''}"


def _progress(console: Console, *, quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
    )
