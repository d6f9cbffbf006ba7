"""What a workload is given: the objects, its lane, chance, and bodies to write. Workloads take nothing else.

A *lane* is one connection. Lanes are numbered through over all clients of a run, processes and hosts alike, so a
workload deals work out by number: nobody asks anybody. Chance comes in two kinds: ``lane.choose`` is a lane's own, and
``terms.shared(name)`` is the same in every lane for the same name, so that all shuffle alike. Either is a function from
n to a whole number in [0, n): a test says what is chosen, and a seed repeats a run.

Terms belong to one client process, whose lanes share them. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from bench.operations import BenchObject, Operation, Read
from bench.plan import Mix, Shape
from cache.versions import ByteSpan

Choose = Callable[[int], int]


@dataclass(frozen=True, slots=True)
class Lane:
    """Lane ``index`` of ``count``, and its own chance."""

    index: int
    count: int
    choose: Choose


@dataclass(frozen=True)
class Terms:
    """See the module. ``range_bytes`` 0: as the workload chooses; ``body(number, size)``: something to write.

    ``prefix``: under which all keys of the run lie.
    """

    objects: tuple[BenchObject, ...]
    shared: Callable[[str], Choose]
    body: Callable[[int, int], bytes | memoryview]
    range_bytes: int = 0
    prefix: str = ""
    mix: Mix = field(default_factory=Mix)

    @cached_property
    def reads(self) -> tuple[Read, ...]:
        """The read of each object, whole."""
        return tuple(Read(each.key, each.size) for each in self.objects)


Operations = Callable[[Terms, Lane], Iterator[Operation]]


class Written(Protocol):
    """Names the objects that a workload may leave behind, beside those that were prepared."""

    def __call__(self, shape: Shape) -> tuple[BenchObject, ...]:
        """They need not all exist."""


def nothing(shape: Shape) -> tuple[BenchObject, ...]:
    """For a workload that writes nothing."""
    del shape
    return ()


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as the harness runs it.

    ``phases``: what its lanes do one after the other; all end a phase before any begins the next, and after the last
    comes the first again while the window is open. A workload of one phase is endless by itself. ``prepared``: its
    objects must be there before it begins. ``ranges``: whether it reads by ranges, parts or records whose length can be
    said; ``whole``: whether it reads whole objects only, where that is not said. ``defaults``: values of a Shape that
    the command line takes from it.
    """

    phases: tuple[Operations, ...]
    summary: str
    ranges: bool = False
    whole: bool = False
    prepared: bool = True
    written: Written = nothing
    defaults: Mapping[str, int] = field(default_factory=dict)


def in_parts(chosen: BenchObject, part_bytes: int) -> Iterator[Read]:
    """Reads of one object from its first byte to its last, ``part_bytes`` each (0: at once)."""
    if not 0 < part_bytes < chosen.size:
        yield Read(chosen.key, chosen.size)
        return
    for start in range(0, chosen.size, part_bytes):
        stop = min(start + part_bytes, chosen.size)
        yield Read(chosen.key, stop - start, ByteSpan(start, stop))
