"""The engine's own part, with a loader that does what torch's DataLoader does in one process (torch may be missing)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec

import pytest

from bench.engines.torch import TorchSession, fetcher, loaded_by, open_engine
from bench.operations import OperationFailed, Probe, Read, ReadBatch
from bench.plan import Door, LoadPlan, Shape
from gateway.client.endpoint import Gateway
from gateway.client.errors import ObjectNotFound
from gateway.client.torch import ObjectDataset

BATCH = ReadBatch((Read("a", 1), Read("c", 3)))
NUMBERS = {"a": 0, "b": 1, "c": 2}


class InMemory(ObjectDataset):
    """A data set of three bodies, of 1, 2 and 3 bytes."""

    def __init__(self) -> None:
        super().__init__("s3://b/p/", gateway=Gateway())
        self._keys = list("abc")

    def __getitems__(self, indexes: Sequence[int]) -> list[bytes]:
        return [bytes(1 + index) for index in indexes]


def one_process_loader(
    data: ObjectDataset,
    *,
    batch_sampler: Iterator[list[int]],
    collate_fn: Callable[[list[bytes]], list[bytes]],
    num_workers: int,
) -> Iterator[list[bytes]]:
    assert num_workers == 0
    return (collate_fn(data.__getitems__(indexes)) for indexes in iter(batch_sampler))


def test_batch_after_batch_goes_through_one_loader() -> None:
    fetch = loaded_by(one_process_loader, InMemory())
    session = TorchSession(fetch, NUMBERS)
    assert [session.perform(BATCH) for _ in range(3)] == [4, 4, 4]
    assert session.first_byte_s > 0


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_the_data_set_is_asked_as_a_loader_would() -> None:
    assert TorchSession(fetcher(InMemory()), NUMBERS).perform(BATCH) == 4


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_torchs_own_loader() -> None:
    session = TorchSession(fetcher(InMemory()), NUMBERS)
    assert [session.perform(BATCH) for _ in range(3)] == [4, 4, 4]


def refusing(_: list[int]) -> list[bytes]:
    raise ObjectNotFound("gone", status=404, code="NoSuchKey")


@pytest.mark.parametrize(
    ("session", "operation", "code"),
    [
        (TorchSession(refusing, NUMBERS), BATCH, "NoSuchKey"),
        (TorchSession(lambda _: [b"1"], NUMBERS), ReadBatch((Read("unknown", 1),)), "NoSuchKey"),
        (TorchSession(lambda _: [b"1", b"22"], NUMBERS), BATCH, "WrongLength"),
        (TorchSession(lambda _: [], NUMBERS), Probe("a", 1), "NotSupported"),
    ],
)
def test_what_goes_wrong(session: TorchSession, operation: ReadBatch | Probe, code: str) -> None:
    with pytest.raises(OperationFailed, match=code):
        session.perform(operation)


def test_a_listing_that_fails_is_one_line() -> None:
    plan = LoadPlan(Door(("http://127.0.0.1:1",), "b"), Shape(engine="torch"), timeout_s=1)
    with pytest.raises(ValueError, match="cannot be listed"):
        open_engine(plan)


def test_host_style_is_not_for_it() -> None:
    with pytest.raises(ValueError, match="by path"):
        open_engine(LoadPlan(Door(("http://h",), "b", lookup="host"), Shape(engine="torch")))
