"""The torch engine: what a training loop gets that reads through Forebay's own data set.

:class:`gateway.client.torch.ObjectDataset`, read by the batch: where torch is installed by a ``DataLoader`` over it (in
this process; ``--processes`` stands for its workers), else by the call that a DataLoader makes, ``__getitems__``. The
result's versions say whether torch was there. An operation is a batch of ``--batch`` whole objects, so latency is how
long the loop waits for a batch. The data set lists its keys once, when the engine is opened. A session is a thread's
share of one data set. First byte: when the batch is there, because it is handed out whole.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bench.engines.ports import Engine
from bench.operations import Operation, OperationFailed, ReadBatch
from bench.plan import LoadPlan
from gateway.client.endpoint import Gateway
from gateway.client.errors import GatewayError
from gateway.client.torch import ObjectDataset

Fetch = Callable[[list[int]], Sequence[bytes]]


def open_engine(plan: LoadPlan) -> Engine:
    """The data set of the plan's objects at each endpoint, taken in turn. Raises ValueError where it cannot be."""
    door = plan.door
    if door.lookup != "path" or door.insecure:
        raise ValueError("--engine torch names buckets by path and checks certificates")
    sets = [_data_set(plan, endpoint) for endpoint in door.endpoints]

    def close() -> None:
        for data, _ in sets:
            data.close()

    def session(index: int) -> TorchSession:
        data, numbers = sets[index % len(sets)]
        return TorchSession(fetcher(data), numbers)

    return Engine(session=session, split=None, close=close, batches=True)


def _data_set(plan: LoadPlan, endpoint: str) -> tuple[ObjectDataset, dict[str, int]]:
    door, shape = plan.door, plan.shape
    gateway = Gateway(
        endpoint=endpoint,
        access_key=door.access_key,
        secret_key=door.secret_key,
        session_token=door.session_token,
        region=door.region,
        connections=max(shape.concurrent, 1) * min(shape.batch, 16),
        read_timeout_s=plan.timeout_s,
    )
    data = ObjectDataset(f"s3://{door.bucket}/{shape.prefix}{shape.object_bytes}/", gateway=gateway)
    try:
        return data, {key: number for number, key in enumerate(data.keys)}
    except (GatewayError, OSError) as fault:
        raise ValueError(f"--engine torch: the objects cannot be listed: {fault}") from fault


def fetcher(data: ObjectDataset) -> Fetch:
    """How a batch is read: by a DataLoader, or as one would."""
    try:
        from torch.utils.data import DataLoader  # noqa: PLC0415 - optional, and slow to load
    except ImportError:
        return data.__getitems__
    return loaded_by(DataLoader, data)


def loaded_by(loader: Callable[..., Any], data: ObjectDataset) -> Fetch:
    """A DataLoader that reads the batches that it is asked for, one after the other."""
    asked = _Asked()
    batches = iter(loader(data, batch_sampler=asked, collate_fn=list, num_workers=0))

    def fetch(indexes: list[int]) -> list[bytes]:
        asked.waiting.append(indexes)
        batch: list[bytes] = next(batches)
        return batch

    return fetch


class _Asked:
    """A batch sampler: the batches asked for, as long as somebody asks."""

    def __init__(self) -> None:
        self.waiting: deque[list[int]] = deque(maxlen=1)

    def __iter__(self) -> Iterator[list[int]]:
        while self.waiting:
            yield self.waiting.popleft()


class TorchSession:
    """One loop that waits for batches; a Session. ``numbers``: where the data set has each key."""

    def __init__(self, fetch: Fetch, numbers: dict[str, int]) -> None:
        self.first_byte_s = 0.0
        self._fetch = fetch
        self._numbers = numbers

    def perform(self, operation: Operation) -> int:
        """See Session."""
        if not isinstance(operation, ReadBatch):
            raise OperationFailed("NotSupported")
        try:
            bodies = self._fetch([self._numbers[read.key] for read in operation.reads])
        except KeyError as fault:
            raise OperationFailed("NoSuchKey") from fault
        except (GatewayError, OSError) as fault:
            raise OperationFailed(getattr(fault, "code", "") or type(fault).__name__) from fault
        self.first_byte_s = time.monotonic()
        if [len(body) for body in bodies] != [read.length for read in operation.reads]:
            raise OperationFailed("WrongLength")
        return operation.moves

    def close(self) -> None:
        """Nothing: connections are the data set's."""
