"""``headline``: the shape in which the field states GB/s per GPU: 10,000 objects of 50 MB, 15 MB parts, 100 concurrent.

Vendors of caches and of object stores publish "GB/s per GPU" over a set of this shape, so a figure of ours must be one
of theirs: 500 GB, far beyond any memory, objects read whole but by ranges of 15 MB (three and a third per object), 100
at a time. Objects are dealt out as shards are: each once per epoch, in a shuffled order. ``--scale 0.01`` makes it 100
objects: the same requests over a set that may lie in memory, which the report's shape says. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from bench.operations import Read
from bench.workloads.dealing import deal
from bench.workloads.terms import Lane, Terms, in_parts

DEFAULTS: Final[Mapping[str, int]] = MappingProxyType(
    {"objects": 10_000, "object_bytes": 50_000_000, "range_bytes": 15_000_000, "concurrent": 100}
)


def headline_parts(terms: Terms, lane: Lane) -> Iterator[Read]:
    """Endless GETs of parts, object after object."""
    for number in deal(len(terms.objects), terms, lane):
        yield from in_parts(terms.objects[number], terms.range_bytes or DEFAULTS["range_bytes"])
