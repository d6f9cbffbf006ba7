"""Before and after a run: its bucket and objects, made where they are missing, removed where they were made.

Objects are looked at by HEAD and uploaded only where they are missing or have another size; what was there before the
run is left alone afterwards, as is everything else in the bucket (warp empties its bucket; this never does). Bodies
come from ``bench/bodies.py``. A workload that writes needs no objects, or leaves some of its own behind: they go too.

Uses the raw engine whatever engine the run has, over a few threads. Raises PrepareFailed, in one line for people.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event
from typing import Final, TypeVar

from bench.bodies import Bodies
from bench.engines import raw
from bench.engines.ports import Engine, Session
from bench.operations import BenchObject, MakeBucket, OperationFailed, Probe, Remove, Write
from bench.plan import LoadPlan
from bench.workloads import WORKLOADS

THREADS: Final = 8
_ATTEMPTS: Final = 3
_OURS_ALREADY: Final = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")

_Item = TypeVar("_Item")


class PrepareFailed(Exception):
    """The objects of a run could not be made; one line for people."""


def prepare(plan: LoadPlan, made: list[BenchObject], on_progress: Callable[[int], None] = lambda _: None) -> None:
    """Make the objects of the run that are missing. ``on_progress``: how many are there now.

    ``made`` grows by each that was uploaded, so that the caller can remove them even where this ends early.
    """
    bodies = Bodies(plan.shape.object_bytes)

    def ensure(session: Session, numbered: tuple[int, BenchObject]) -> None:
        number, wanted = numbered
        if not _is_there(session, wanted):
            _insist(session, Write(wanted.key, bodies.body(number, wanted.size)))
            made.append(wanted)

    _make_bucket(raw.open_engine(plan))
    if WORKLOADS[plan.shape.workload].prepared:
        over_sessions(plan, ensure, list(enumerate(plan.shape.objects_read())), on_progress)


def leavings(plan: LoadPlan) -> tuple[BenchObject, ...]:
    """What the run's workload may have left behind, beside the objects that were prepared."""
    return WORKLOADS[plan.shape.workload].written(plan.shape)


def clear(plan: LoadPlan, objects: Sequence[BenchObject]) -> None:
    """Remove ``objects``, which need not all be there."""

    def remove(session: Session, which: BenchObject) -> None:
        _insist(session, Remove(which.key))

    over_sessions(plan, remove, objects)


def _make_bucket(engine: Engine) -> None:
    session = engine.session(0)
    try:
        session.perform(MakeBucket())
    except OperationFailed as fault:
        if fault.code in ("ConnectionRefusedError", "gaierror", "Timeout"):
            raise PrepareFailed(f"the endpoint does not answer ({fault.code})") from fault
        if fault.code not in _OURS_ALREADY and not fault.code.startswith("AccessDenied"):
            raise PrepareFailed(f"the bucket cannot be made: {fault.code}") from fault
    finally:
        session.close()


def _is_there(session: Session, wanted: BenchObject) -> bool:
    try:
        session.perform(Probe(wanted.key, wanted.size))
    except OperationFailed:
        return False  # missing, of another size, or not to be told: the PUT will say
    return True


def _insist(session: Session, operation: Write | Remove) -> None:
    code = ""
    for _ in range(_ATTEMPTS):
        try:
            session.perform(operation)
        except OperationFailed as fault:
            code = fault.code
        else:
            return
    raise PrepareFailed(f"{type(operation).__name__.lower()} of {operation.key}: {code}")


def over_sessions(
    plan: LoadPlan,
    act: Callable[[Session, _Item], object],
    items: Sequence[_Item],
    on_progress: Callable[[int], None] = lambda _: None,
) -> None:
    """``act`` on each item, over a few raw sessions, in no order. Progress: how many items are done.

    The first exception of any of them ends all, once each has finished the item that it was at.
    """
    engine = raw.open_engine(plan)
    shared = iter(items)  # a list's iterator may be asked from several threads
    done = count(1)
    stop = Event()

    def share(lane: int) -> None:
        session = engine.session(lane)
        try:
            for item in shared:
                act(session, item)
                on_progress(next(done))
                if stop.is_set():
                    return
        except BaseException:
            stop.set()
            raise
        finally:
            session.close()

    with ThreadPoolExecutor(THREADS) as pool:
        lanes = [pool.submit(share, lane) for lane in range(THREADS)]
        try:
            for lane in lanes:
                lane.result()
        finally:
            stop.set()
