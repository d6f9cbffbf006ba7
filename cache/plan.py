"""Which chunks a read needs, which bytes of each, and by which way to ask for them. Pure arithmetic.

A read of span [start, stop) touches a run of chunks; of the first and the last perhaps only a part. For a chunk that
the local store lacks, the ring names the owner, and the owner's place decides the way. A small span far inside a cold
chunk is worth an exchange of its own beside the fill: the first who touches the chunk so costs upstream one request
more, whoever comes later rides on the fill; so a chunk costs two at most, and in whole or sequential reads always one.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

from cache.chunks import Chunk, chunk_of
from cache.versions import ByteSpan, ObjectVersion
from cache.views import Owner

FAR_BYTES: Final = 1024 * 1024
SMALL_PARTS: Final = 4


class Step(NamedTuple):
    """One chunk of a read; ``span`` is relative to the chunk."""

    chunk: Chunk
    span: ByteSpan


def is_glimpse(chunk: Chunk, span: ByteSpan) -> bool:
    """Whether a read of ``span`` should not wait for the fill of a cold chunk to get there: it is small, and far.

    A span that goes on in the next chunk is a part of a longer read, and waits.
    """
    ends_here = span.stop < chunk.length or chunk.span.stop == chunk.version.size
    return span.start >= FAR_BYTES and span.length * SMALL_PARTS <= chunk.length and ends_here


class Way(Enum):
    """How this worker comes by a chunk that its node's store lacks."""

    FILL = "this worker owns it and fills it"
    ALONG = "another worker of this node fills it; read along"
    RELAY = "another node owns it; relay its bytes"


def plan_steps(version: ObjectVersion, span: ByteSpan, chunk_bytes: int) -> Iterator[Step]:
    """The steps of a read, in order; together they cover exactly ``span``."""
    for index in span.chunk_indexes(chunk_bytes):
        start = index * chunk_bytes
        part = ByteSpan(max(span.start - start, 0), min(span.stop - start, chunk_bytes))
        yield Step(chunk_of(version, chunk_bytes, index), part)


def judge_way(owner: Owner, me: Owner) -> Way:
    """By which way worker ``me`` asks for a chunk of ``owner``."""
    if owner == me:
        return Way.FILL
    return Way.ALONG if owner.node_id == me.node_id else Way.RELAY
