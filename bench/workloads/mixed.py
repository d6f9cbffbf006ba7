"""``mixed``: reads, writes, stats, deletes and listings at once, as the users of a shared bucket make them.

Each operation is chosen by the shares of ``Mix`` (warp's options and proportions: GET 45, PUT 15, STAT 30, DELETE 10;
and LIST 5, which warp leaves out). Reads and stats go to the prepared objects and to those that the lane itself has
written; writes and deletes only to the lane's own few keys, round and round, so that nobody's read is pulled from
under it, a PUT often replaces what was just read (a cache must forget it), and a run leaves a bounded number of keys
behind. Where a DELETE finds nothing of the lane's own, it writes instead. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final

from bench.operations import BenchObject, List, Operation, Probe, Read, Remove, Write
from bench.plan import Shape
from bench.workloads.terms import Lane, Terms

OWN_KEYS: Final = 16


def mixed_operations(terms: Terms, lane: Lane) -> Iterator[Operation]:
    """Endless operations of all kinds."""
    mine = _Mine(terms, lane)
    mix = terms.mix
    chances = ((mix.get, mine.read), (mix.put, mine.write), (mix.stat, mine.stat), (mix.delete, mine.remove))
    table = [act for share, act in (*chances, (mix.list, mine.list)) for _ in range(share)]
    while True:
        yield table[lane.choose(len(table))]()


def own_objects(prefix: str, size: int, lane: int) -> tuple[BenchObject, ...]:
    """The keys that lane ``lane`` writes."""
    return tuple(BenchObject(f"{prefix}{size}/own/{lane:05d}-{slot:02d}", size) for slot in range(OWN_KEYS))


def written_by_all(shape: Shape) -> tuple[BenchObject, ...]:
    """What a run may leave behind."""
    lanes = range(shape.concurrent)
    return tuple(each for lane in lanes for each in own_objects(shape.prefix, shape.object_bytes, lane))


class _Mine:
    """What one lane may read, and what it has written."""

    def __init__(self, terms: Terms, lane: Lane) -> None:
        size = terms.objects[0].size
        self._terms = terms
        self._lane = lane
        self._own = own_objects(terms.prefix, size, lane.index)
        self._there: list[BenchObject] = []
        self._listed = f"{terms.prefix}{size}/"
        self._written = count()

    def read(self) -> Operation:
        chosen = self._any()
        return Read(chosen.key, chosen.size)

    def stat(self) -> Operation:
        chosen = self._any()
        return Probe(chosen.key, chosen.size)

    def write(self) -> Operation:
        number = next(self._written)
        chosen = self._own[number % OWN_KEYS]
        if chosen not in self._there:
            self._there.append(chosen)
        return Write(chosen.key, self._terms.body(self._lane.index * OWN_KEYS + number, chosen.size))

    def remove(self) -> Operation:
        if not self._there:
            return self.write()
        return Remove(self._there.pop(self._lane.choose(len(self._there))).key)

    def list(self) -> Operation:
        return List(self._listed)

    def _any(self) -> BenchObject:
        objects = self._terms.objects
        number = self._lane.choose(len(objects) + len(self._there))
        return objects[number] if number < len(objects) else self._there[number - len(objects)]
