"""Runs a plan: has its clients begin together, phase after phase, and adds up what they counted.

Where the clients are is the crew's affair (``bench/crew.py``): processes of this machine, or of the nodes of a Ray
cluster. A workload of one phase runs until its window is over; one of several goes round, and all clients end a phase
before any begins the next. Ctrl-C stops the run early and keeps what was measured; a second one gives up.

With a warm-up (``Shape.warmup_s``) the same clients work before, over the connections that they keep, and nothing of it
is counted. ``on_begin`` comes in between, when no request is under way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from bench.client import Begin
from bench.crew import Crew, LoadFailed, OnProgress
from bench.plan import LoadPlan
from bench.processes import ProcessCrew
from bench.recorder import LoadReport, Recorder
from bench.workloads import WORKLOADS

__all__ = ["LoadFailed", "OnProgress", "run_load"]

_TOGETHER_S: Final = 0.02
_TOGETHER_FAR_S: Final = 0.25
_GRACE_S: Final = 15.0


def run_load(
    plan: LoadPlan,
    on_progress: OnProgress = lambda _: None,
    *,
    on_begin: Callable[[], None] = lambda: None,
) -> LoadReport:
    """Run the plan to its end; what all clients counted together. ``on_begin``: just before the first that counts.

    Raises LoadFailed.
    """
    with _crew(plan) as crew:
        return lead(plan, crew, on_progress, on_begin=on_begin)


def lead(plan: LoadPlan, crew: Crew, on_progress: OnProgress, *, on_begin: Callable[[], None]) -> LoadReport:
    """Have a crew run the plan; see :func:`run_load`. Whoever has the crew closes it."""
    crew.ready()
    whole = _warm_up(plan, crew)
    on_begin()  # after a warm-up that was interrupted too: what its caller reads has a beginning
    begin_s = time.monotonic() + _ahead_s(plan)
    total = Recorder(begin_s, plan.shape.interval_s)
    for report in _reports(plan, crew, begin_s, on_progress) if whole else ():
        total.merge(report)
    return total.report()


@contextmanager
def _crew(plan: LoadPlan) -> Iterator[Crew]:
    crew: Crew
    if plan.shape.ray:
        from bench.hosts import RayCrew  # noqa: PLC0415 - an extra

        crew = RayCrew(plan)
    else:
        crew = ProcessCrew(plan)
    try:
        yield crew
    finally:
        crew.close()


def _warm_up(plan: LoadPlan, crew: Crew) -> bool:
    """Have the clients work for nothing; whether that came to its own end."""
    if plan.shape.warmup_s == 0:
        return True
    begin_s = time.monotonic() + _ahead_s(plan)
    crew.begin(Begin(begin_s, begin_s, 0, warm_up=True))
    _, whole = _gather(crew, _give_up_s(plan, begin_s + plan.shape.warmup_s), lambda _: None)
    return whole


def _reports(plan: LoadPlan, crew: Crew, begin_s: float, on_progress: OnProgress) -> Iterator[LoadReport]:
    until_s = begin_s + plan.shape.duration_s
    give_up_s = _give_up_s(plan, until_s)
    phases = len(WORKLOADS[plan.shape.workload].phases)
    phase = 0
    start_s = begin_s
    while start_s < until_s:
        crew.begin(Begin(begin_s, start_s, phase))
        reports, whole = _gather(crew, give_up_s, on_progress)
        yield from reports
        if phases == 1 or not whole:
            return
        phase += 1
        start_s = time.monotonic() + _ahead_s(plan)


def _gather(crew: Crew, give_up_s: float, on_progress: OnProgress) -> tuple[list[LoadReport], bool]:
    """The reports of a phase, and whether it came to its own end."""
    try:
        return crew.gather(give_up_s, on_progress), True
    except KeyboardInterrupt:
        crew.stop()
        return crew.gather(give_up_s, on_progress), False


def _give_up_s(plan: LoadPlan, until_s: float) -> float:
    """When clients whose time was over at ``until_s`` are not waited for any more."""
    return until_s + 2 * plan.timeout_s + _GRACE_S


def _ahead_s(plan: LoadPlan) -> float:
    """How far in the future all begin, so that every client has heard of it before."""
    return _TOGETHER_FAR_S if plan.shape.ray else _TOGETHER_S
