"""``checkpoint``: a burst: all ranks write their part of a checkpoint, then everyone reads all of it.

A training job saves its state at one instant, and after a failure every rank loads it at one instant. The first phase
writes each object once, dealt out over the lanes; when all are written, the second has every lane read every object,
each beginning at another one; then the next checkpoint replaces the last, until the time is over. It shows what a cache
does with writes (forwarded, invalidated), and with the first read of new data by many at once (once from upstream, or
once per reader). The keys are the run's own (``<prefix>checkpoint/…``); nothing is prepared. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.operations import BenchObject, Read, Write, name_objects
from bench.plan import Shape
from bench.workloads.terms import Lane, Terms, in_parts


def write_share(terms: Terms, lane: Lane) -> Iterator[Write]:
    """PUTs of this lane's share of the checkpoint, once."""
    saved = _saved(terms)
    for number in range(lane.index, len(saved), lane.count):
        yield Write(saved[number].key, terms.body(number, saved[number].size))


def read_all(terms: Terms, lane: Lane) -> Iterator[Read]:
    """GETs of the whole checkpoint, once."""
    saved = _saved(terms)
    for turn in range(len(saved)):
        yield from in_parts(saved[(lane.index + turn) % len(saved)], terms.range_bytes)


def saved_objects(shape: Shape) -> tuple[BenchObject, ...]:
    """The objects of a checkpoint: what a run leaves behind."""
    return name_objects(f"{shape.prefix}checkpoint/", shape.object_bytes, shape.objects)


def _saved(terms: Terms) -> tuple[BenchObject, ...]:
    return name_objects(f"{terms.prefix}checkpoint/", terms.objects[0].size, len(terms.objects))
