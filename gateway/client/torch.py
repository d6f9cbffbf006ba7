"""Data sets for a training loop: objects under a prefix (map-style) and tar shards (iterable).

Both go through a Reader, one per process: pickled or forked into a loader's worker, a data set opens its own
connections there. Where torch is installed the classes are torch data sets and work with ``DataLoader(num_workers=…)``
started either way; without torch they are a plain sequence and a plain iterable. The listing is made once, on first
use, and travels to the workers. Nothing is collated or decoded: samples are bytes, or what ``transform`` makes of them.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from gateway.client.endpoint import Gateway, Place, find_gateway, find_place, split_location
from gateway.client.reader import Reader
from gateway.client.shards import Sample, order_shards, read_samples, share_of, shuffled

if TYPE_CHECKING:

    class MapStyle:
        """A torch Dataset, or any object."""

    class IterableStyle:
        """A torch IterableDataset, or any object."""
else:
    try:
        from torch.utils.data import Dataset as MapStyle
        from torch.utils.data import IterableDataset as IterableStyle
    except ImportError:
        MapStyle = IterableStyle = object

Item = Any  # bytes or a sample, or what the transform makes of it
Transform = Callable[[str, bytes], Item]


class ObjectDataset(MapStyle):
    """The objects under ``s3://bucket/prefix``, in key order: ``dataset[i]`` is bytes, or ``transform(key, bytes)``.

    ``match`` keeps the keys that a glob matches (``"*.jpg"``; ``*`` crosses slashes). Keys that end in a slash are
    markers, not data, and left out. A DataLoader reads the objects of a batch side by side (``__getitems__``).
    """

    def __init__(
        self, location: str, *, transform: Transform | None = None, match: str = "*", gateway: Gateway | None = None
    ) -> None:
        self.bucket, self.prefix = split_location(location)
        self.transform = transform
        self.match = match
        self.reader = Reader(gateway or default_gateway())
        self._keys: list[str] | None = None

    @property
    def keys(self) -> Sequence[str]:
        """The keys, listed on first use. Raises what a listing raises."""
        if self._keys is None:
            self._keys = list_keys(self.reader, self.bucket, self.prefix, self.match)
        return self._keys

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Item:
        return self._item(self.keys[index])

    def __getitems__(self, indexes: Sequence[int]) -> list[Item]:
        """One batch, its objects read side by side."""
        keys = [self.keys[index] for index in indexes]
        bodies = self.reader.read_many(self.bucket, keys)
        return [self._shaped(key, body) for key, body in zip(keys, bodies, strict=True)]

    def close(self) -> None:
        """Close the connections of this process."""
        self.reader.close()

    def _item(self, key: str) -> Item:
        return self._shaped(key, self.reader.read(self.bucket, key))

    def _shaped(self, key: str, body: bytes) -> Item:
        return body if self.transform is None else self.transform(key, body)


class ShardDataset(IterableStyle):
    """The samples of the tar shards under ``s3://bucket/prefix``: dicts of extension to bytes, and ``__key__``.

    Shards are split over the ranks of the job (``place``; by default torch.distributed's, else ``RANK`` and
    ``WORLD_SIZE``) and then over the loader's workers; ``shuffle`` reorders them by ``seed`` and epoch, and draws each
    sample from ``shuffle_samples`` that wait (0: in order). The epoch is what :meth:`set_epoch` said plus the passes
    begun since in this process; call it before each pass when the loader's workers do not persist. Shares differ by up
    to one shard: a job whose ranks must take equally many steps counts steps, not shards.
    """

    def __init__(  # noqa: PLR0913  (a data set is configured in one place)
        self,
        location: str,
        *,
        match: str = "*.tar",
        transform: Callable[[Sample], Item] | None = None,
        shuffle: bool = False,
        shuffle_samples: int = 0,
        seed: int = 0,
        parts_ahead: int = 4,
        place: Place | None = None,
        gateway: Gateway | None = None,
    ) -> None:
        self.bucket, self.prefix = split_location(location)
        self.match = match
        self.transform = transform
        self.seed = seed if shuffle else None
        self.shuffle_samples = shuffle_samples
        self.parts_ahead = parts_ahead
        self.place = place
        self.reader = Reader(gateway or default_gateway())
        self._shards: list[str] | None = None
        self._epoch = 0

    @property
    def shards(self) -> Sequence[str]:
        """The shards' keys, all of them, listed on first use. Raises what a listing raises."""
        if self._shards is None:
            self._shards = list_keys(self.reader, self.bucket, self.prefix, self.match)
        return self._shards

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch of the next pass, so that every rank shuffles alike."""
        self._epoch = epoch

    def share(self, epoch: int) -> Sequence[str]:
        """The shards that this process reads in ``epoch``, in order."""
        place = self.place or current_place()
        mine = share_of(order_shards(self.shards, seed=self.seed, epoch=epoch), place.rank, place.world)
        return share_of(mine, *_worker())

    def __iter__(self) -> Iterator[Item]:
        epoch, self._epoch = self._epoch, self._epoch + 1
        draw = random.Random(f"{self.seed}/{epoch}/{_worker()[0]}").randrange  # noqa: S311  (an order, not a secret)
        waiting = self.shuffle_samples if self.seed is not None else 0
        for sample in shuffled(self._samples(self.share(epoch)), waiting, draw):
            yield sample if self.transform is None else self.transform(sample)

    def close(self) -> None:
        """Close the connections of this process."""
        self.reader.close()

    def _samples(self, shards: Sequence[str]) -> Iterator[Sample]:
        for shard in shards:
            with self.reader.open(self.bucket, shard, parts_ahead=self.parts_ahead) as stream:
                yield from read_samples(stream, f"{self.bucket}/{shard}")


def list_keys(reader: Reader, bucket: str, prefix: str, match: str = "*") -> list[str]:
    """The keys under ``prefix`` that ``match`` matches, without folder markers, in key order."""
    listed = (info.key for page in reader.pages(bucket, prefix) for info in page.objects)
    return [key for key in listed if not key.endswith("/") and fnmatchcase(key, match)]


def default_gateway() -> Gateway:
    """The gateway that the environment names, told this process's rank where torch.distributed knows it."""
    place = _distributed_place()
    return find_gateway(os.environ, rank=None if place is None else str(place.rank))


def current_place() -> Place:
    """This process's rank: torch.distributed's where that is running, else the environment's."""
    return _distributed_place() or find_place(os.environ)


def _distributed_place() -> Place | None:
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return Place(distributed.get_rank(), distributed.get_world_size())
    return None


def _worker() -> tuple[int, int]:
    """Index and count of this loader worker; one of one outside a loader."""
    data = sys.modules.get("torch.utils.data")
    info = data.get_worker_info() if data is not None else None
    return (info.id, info.num_workers) if info is not None else (0, 1)
