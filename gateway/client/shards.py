"""Which shards a process reads, in which order, and what samples a tar shard holds.

Order and split are pure: the same seed and epoch give every process the same order, out of which each takes its share,
so that together they read every shard once. A sample is the run of neighbouring members whose names agree up to the
first dot of the last path component (the WebDataset convention): ``a/b/0001.jpg`` and ``a/b/0001.cls`` make
``{"__key__": "a/b/0001", "jpg": …, "cls": …}``; an extension that comes twice in one sample is an error in the data.
Members that are no files, and names without an extension's dot in front (dot files), are passed over.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Final, TypeVar

from gateway.client.stream import ObjectStream

Sample = dict[str, bytes | str]
KEY: Final = "__key__"
_DRAIN_BYTES: Final = 1 << 20

T = TypeVar("T")


class ShardDamaged(Exception):
    """A shard is no tar archive, is cut, or holds one extension twice in a sample."""


def order_shards(shards: Sequence[str], *, seed: int | None, epoch: int) -> list[str]:
    """The shards in the order of this epoch; as given when ``seed`` is None."""
    if seed is None:
        return list(shards)
    return sorted(shards, key=lambda shard: blake2b(f"{seed}/{epoch}/{shard}".encode(), digest_size=16).digest())


def share_of(items: Sequence[T], index: int, count: int) -> Sequence[T]:
    """Every ``count``-th item from ``index`` on."""
    return items[index::count]


def shuffled(samples: Iterable[T], buffered: int, draw: Callable[[int], int]) -> Iterator[T]:
    """The samples, each drawn from ``buffered`` that wait; in order when that is 0.

    ``draw`` gives a number below its argument.
    """
    waiting: list[T] = []
    for sample in samples:
        waiting.append(sample)
        if len(waiting) > buffered:
            yield _taken(waiting, draw)
    while waiting:
        yield _taken(waiting, draw)


def _taken(waiting: list[T], draw: Callable[[int], int]) -> T:
    place = draw(len(waiting))
    waiting[place], waiting[-1] = waiting[-1], waiting[place]
    return waiting.pop()


def split_name(name: str) -> tuple[str, str] | None:
    """Sample key and extension of a member's name; None for a name that belongs to no sample."""
    folder, slash, last = name.rpartition("/")
    stem, dot, extension = last.partition(".")
    return (folder + slash + stem, extension.lower()) if stem and dot and extension else None


def read_samples(stream: ObjectStream, shard: str = "") -> Iterator[Sample]:
    """The samples of one tar shard, as they arrive. ``shard`` names it in errors. Raises ShardDamaged."""
    sample: Sample = {}
    for name, data in read_members(stream, shard):
        split = split_name(name)
        if split is None:
            continue
        key, extension = split
        if sample and sample[KEY] != key:
            yield sample
            sample = {}
        if extension in sample:
            raise ShardDamaged(f"{shard}: {name} comes twice in a sample")
        sample[KEY] = key
        sample[extension] = data
    if sample:
        yield sample


def read_members(stream: ObjectStream, shard: str = "") -> Iterator[tuple[str, bytes]]:
    """Name and content of every regular file in a tar archive, in its order. Raises ShardDamaged."""
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # typeshed omits it; tarfile keeps every member it has seen
                if member.isfile() and not member.issparse():
                    yield member.name, _content(stream, member, shard)
        while stream.read(_DRAIN_BYTES):  # the padding: no part in flight is left half read
            pass
    except tarfile.TarError as error:
        raise ShardDamaged(f"{shard}: {error}") from error


def _content(stream: ObjectStream, member: tarfile.TarInfo, shard: str) -> bytes:
    stream.seek(member.offset_data)
    data = stream.read(member.size)
    if len(data) != member.size:
        raise ShardDamaged(f"{shard}: the archive ends inside {member.name}")
    return data
