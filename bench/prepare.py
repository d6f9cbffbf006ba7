"""Before and after a run: its bucket and objects, made where they are missing, removed where they were made.

Objects are looked at by HEAD and uploaded only where they are missing or have another size; what was there before the
run is left alone afterwards, as is everything else in the bucket (warp empties its bucket; this never does). Bodies
are slices of one random buffer at differing offsets: incompressible, different from object to object, no copy each.

Uses the raw engine whatever engine the run has, over a few threads. Raises PrepareFailed, in one line for people.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from bench.engines import raw
from bench.engines.ports import Engine, Session
from bench.operations import BenchObject, MakeBucket, OperationFailed, Probe, Remove, Write
from bench.plan import LoadPlan

THREADS: Final = 8
_OFFSETS: Final = 64 * 1024
_ATTEMPTS: Final = 3
_OURS_ALREADY: Final = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


class PrepareFailed(Exception):
    """The objects of a run could not be made; one line for people."""


def prepare(plan: LoadPlan, on_progress: Callable[[int], None] = lambda _: None) -> list[BenchObject]:
    """Make the objects of the run that are missing; those that were made. ``on_progress``: how many are there now."""
    objects = plan.shape.objects_read()
    buffer = memoryview(os.urandom(plan.shape.object_bytes + _OFFSETS))

    def ensure(session: Session, numbered: tuple[int, BenchObject]) -> BenchObject | None:
        number, wanted = numbered
        if _is_there(session, wanted):
            return None
        start = number * 64 % _OFFSETS
        _insist(session, Write(wanted.key, buffer[start : start + wanted.size]))
        return wanted

    engine = raw.open_engine(plan)
    _make_bucket(engine)
    made = _over_sessions(engine, ensure, list(enumerate(objects)), on_progress)
    return [each for each in made if each is not None]


def clear(plan: LoadPlan, objects: Sequence[BenchObject]) -> None:
    """Remove ``objects``."""

    def remove(session: Session, which: BenchObject) -> None:
        _insist(session, Remove(which.key))

    _over_sessions(raw.open_engine(plan), remove, objects, lambda _: None)


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


def _over_sessions(
    engine: Engine,
    act: Callable[[Session, _Item], _Answer],
    items: Sequence[_Item],
    on_progress: Callable[[int], None],
) -> list[_Answer]:
    """``act`` on each item, over several sessions; the answers, in no order. Progress counts the items."""
    answers: list[_Answer] = []
    with ThreadPoolExecutor(THREADS) as pool:
        rounds = [items[lane::THREADS] for lane in range(THREADS)]
        for answered in pool.map(partial(_share, engine, act), range(THREADS), rounds):
            answers.extend(answered)
            on_progress(len(answers))
    return answers


def _share(
    engine: Engine, act: Callable[[Session, _Item], _Answer], lane: int, items: Iterable[_Item]
) -> list[_Answer]:
    session = engine.session(lane)
    try:
        return [act(session, item) for item in items]
    finally:
        session.close()
