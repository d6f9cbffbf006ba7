"""A crowd at one worker: many clients want the same cold object at the same moment, and are let go together."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.meter import layout
from gateway.meter.readings import Pages, Roster, Sums
from tests.doubles.fake_s3 import Call
from tests.gateway import RunningWorker, running_worker
from tests.integration.test_http import Wire, request, settled

COUNT = 60
FEW = 3  # are called in the moment in which the first bytes come
SIZE = 100_000
SUMS = {"x_amz_checksum_mode": "ENABLED"}


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[RunningWorker]:
    async with running_worker(tmp_path) as running:
        running.fake.shelf.generate("data", "known", 1000)
        running.fake.shelf.generate("data", "one", SIZE)
        yield running
        assert not list(running.meter.check())


class Gathering:
    """Clients, each of whom has connected and asked for something else before."""

    def __init__(self, worker: RunningWorker, wires: list[Wire]) -> None:
        self.wires = wires
        self._worker = worker
        self._others = itertools.count()

    @classmethod
    async def of(cls, worker: RunningWorker, count: int = COUNT) -> Gathering:
        wires = [await Wire.open(worker) for _ in range(count)]
        for wire in wires:
            await wire.ask(request("GET", "/data/known"))
        return cls(worker, wires)

    async def ask(self, key: str, asked: list[bytes]) -> None:
        """Send each client's request (upstream holds its answer back); they have all come in when this returns."""
        for wire, head in zip(self.wires, asked, strict=True):
            wire.writer.write(head)
        await self._worker.fake.waiting(key, 1)
        await self.heard()

    async def heard(self) -> None:
        """What was sent before has been heard: somebody who asks later has his answer."""
        key = f"other{next(self._others)}"
        self._worker.fake.shelf.generate("data", key, 10)
        wire = await Wire.open(self._worker)
        assert (await wire.ask(request("GET", f"/data/{key}"))).startswith(b"HTTP/1.1 200 ")
        await wire.close()

    async def close(self) -> None:
        for wire in self.wires:
            await wire.close()


def calls(worker: RunningWorker, key: str) -> list[Call]:
    return worker.fake.calls_of("", key)


@pytest.mark.parametrize("count", [COUNT, FEW, 1])
@pytest.mark.parametrize("sums", [{}, SUMS], ids=["plain", "checksums"])
@pytest.mark.parametrize("size", [1, SIZE, (1 << 18), (1 << 18) + 1, (3 << 20) + 17])
async def test_everyone_gets_every_byte_for_one_request_per_chunk(
    worker: RunningWorker, size: int, sums: dict[str, str], count: int
) -> None:
    stored = worker.fake.shelf.generate("data", "one", size)
    crowd = await Gathering.of(worker, count)
    asked = request("GET", "/data/one", **sums)
    async with worker.fake.held("one"):
        await crowd.ask("one", [asked] * count)
    answers = await asyncio.gather(*(wire.answer() for wire in crowd.wires))
    assert {answer.partition(b"\r\n\r\n")[2] for answer in answers} == {stored.read(0, size)}
    assert len(calls(worker, "one")) == -(-size // (1 << 20))
    await worker.worker._fills.settled()
    heads = {settled(answer.partition(b"\r\n\r\n")[0]) for answer in answers}
    assert heads == {settled((await crowd.wires[0].ask(asked)).partition(b"\r\n\r\n")[0])}
    await crowd.close()


@pytest.mark.parametrize("each", [8, 1])
async def test_whatever_they_ask_of_it_they_are_answered_as_anyone(worker: RunningWorker, each: int) -> None:
    etag = worker.fake.shelf.buckets["data"]["one"].etag
    kinds = [
        request("GET", "/data/one"),
        request("GET", "/data/one", range="bytes=10-19"),
        request("GET", "/data/one", range=f"bytes={SIZE}-"),
        request("GET", "/data/one", if_none_match=etag),
        request("GET", "/data/one", if_match='"another"'),
        request("GET", "/data/one", **SUMS),
        request("GET", "/data/one?response-content-type=a/b"),
        request("HEAD", "/data/one"),
    ]
    asked = kinds * each
    crowd = await Gathering.of(worker, len(asked))
    async with worker.fake.held("one"):
        await crowd.ask("one", asked)
    answers = [
        settled(await wire.answer(head.startswith(b"HEAD"))) for wire, head in zip(crowd.wires, asked, strict=True)
    ]
    await worker.worker._fills.settled()
    for number, head in enumerate(kinds):
        alone = settled(await crowd.wires[number].ask(head))
        assert set(answers[number :: len(kinds)]) == {alone}
    assert [call.method for call in calls(worker, "one")].count("GET") == 1
    await crowd.close()


async def test_who_asks_alike_has_an_id_an_account_and_a_connection_of_his_own(worker: RunningWorker) -> None:
    stored = worker.fake.shelf.buckets["data"]["one"]
    extras: list[dict[str, str]] = [
        {"x_forebay_job": "whole"},
        {"x_forebay_job": "part", "range": "bytes=7-"},
        {"x_forebay_job": "tail", "range": "bytes=7-"},
        {"x_forebay_job": "last", "connection": "close"},
    ]
    crowd = await Gathering.of(worker)
    asked = extras * (COUNT // len(extras))
    async with worker.fake.held("one"):
        await crowd.ask("one", [request("GET", "/data/one", **extra) for extra in asked])
        before = worker.meter.tally.read()["chunk_coalesced"]
    answers = [await wire.answer() for wire in crowd.wires]
    assert len({re.findall(rb"x-amz-request-id: (\w+)", answer)[0] for answer in answers}) == COUNT
    for extra, answer, wire in zip(asked, answers, crowd.wires, strict=True):
        start, closes = 7 if "range" in extra else 0, "connection" in extra
        assert answer.partition(b"\r\n\r\n")[2] == stored.read(start, SIZE)
        assert (b"connection: close" in answer) == closes
        if closes:
            assert await wire.reader.read() == b""
    await worker.worker._fills.settled()
    assert worker.meter.tally.read()["chunk_coalesced"] - before >= COUNT - 1
    sums = Sums()
    sums.add(Pages(worker.meter._words), Roster(), alive=True)
    counts = {client.job: counts for client, counts in sums.clients.items()}
    for extra in extras:
        told = counts[extra["x_forebay_job"]]
        assert sum(told.body) == COUNT // len(extras) * (SIZE - 7 * ("range" in extra))
        assert sum(told.words[cell[0]] for cell in layout.REQUEST_CELLS) == COUNT // len(extras)
    await crowd.close()


async def test_who_asks_alike_for_a_chunk_that_is_here_gets_that_one(tmp_path: Path) -> None:
    chunk, body = 256 * 1024, os.urandom(2 * 256 * 1024)
    beyond = request("GET", "/data/one", range=f"bytes={chunk}-{2 * chunk - 1}")
    async with running_worker(tmp_path, cache={"chunk_size": chunk}) as worker:
        worker.fake.shelf.generate("data", "known", 1000)
        worker.fake.shelf.put("data", "one", body)
        crowd = await Gathering.of(worker)
        for asked in (request("HEAD", "/data/one"), beyond, request("DELETE", "/data/one")):
            await crowd.wires[0].ask(asked)  # the second chunk is here; nothing is known of the key
        worker.fake.shelf.put("data", "one", body)
        async with worker.fake.held("one"):
            await crowd.ask("one", [beyond] * COUNT)
        for wire in crowd.wires:
            assert (await wire.answer()).partition(b"\r\n\r\n")[2] == body[chunk:]
        await crowd.close()


@pytest.mark.parametrize("count", [COUNT, FEW, 1])
async def test_a_refusal_is_everybodys_and_costs_one_request(worker: RunningWorker, count: int) -> None:
    crowd = await Gathering.of(worker, count)
    async with worker.fake.held("missing"):
        await crowd.ask("missing", [request("GET", "/data/missing")] * count)
    answers = {settled(await wire.answer()) for wire in crowd.wires}
    assert len(answers) == 1
    assert answers.pop().startswith(b"HTTP/1.1 404 ")
    assert len(calls(worker, "missing")) == 1
    await crowd.close()


@pytest.mark.parametrize("count", [COUNT, FEW])
async def test_who_leaves_takes_nobody_along(worker: RunningWorker, count: int) -> None:
    stored = worker.fake.shelf.buckets["data"]["one"]
    crowd = await Gathering.of(worker, count)
    async with worker.fake.held("one"):
        await crowd.ask("one", [request("GET", "/data/one")] * count)
        for wire in crowd.wires[::2]:
            wire.writer.transport.abort()
        await crowd.heard()
    answers = [await wire.answer() for wire in crowd.wires[1::2]]
    assert {answer.partition(b"\r\n\r\n")[2] for answer in answers} == {stored.read(0, SIZE)}
    assert len(calls(worker, "one")) == 1
    for wire in crowd.wires[1::2]:
        await wire.close()


@pytest.mark.parametrize("count", [COUNT, FEW, 1])
@pytest.mark.parametrize("size", [250_000, 3_000_000])
async def test_nobody_waits_for_the_last_byte_of_a_slow_answer(worker: RunningWorker, size: int, count: int) -> None:
    stored = worker.fake.shelf.generate("data", "one", size)
    worker.fake.trouble(key="one", rate=size * 4.0)  # so that it comes in pieces
    crowd = await Gathering.of(worker, count)
    async with worker.fake.halted("one", 30_000):
        await crowd.ask("one", [request("GET", "/data/one")] * count)
        for wire in crowd.wires:
            assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            assert await wire.reader.readexactly(30_000) == stored.read(0, 30_000)
    for wire in crowd.wires:
        assert await wire.reader.readexactly(size - 30_000) == stored.read(30_000, size)
    assert len(calls(worker, "one")) == -(-size // (1 << 20))
    await crowd.close()


@pytest.mark.parametrize("count", [FEW, 1])
@pytest.mark.parametrize("size", [250_000, 3_000_000])
async def test_who_leaves_in_the_middle_leaves_nothing_behind(worker: RunningWorker, size: int, count: int) -> None:
    stored = worker.fake.shelf.generate("data", "one", size)
    worker.fake.trouble(key="one", rate=size * 4.0)
    crowd = await Gathering.of(worker, count)
    async with worker.fake.halted("one", 30_000):
        await crowd.ask("one", [request("GET", "/data/one")] * count)
        for wire in crowd.wires:
            await wire.reader.readuntil(b"\r\n\r\n")
            wire.writer.transport.abort()
        await crowd.heard()
    await worker.worker._fills.settled()
    another = await Wire.open(worker)
    assert (await another.ask(request("GET", "/data/one"))).partition(b"\r\n\r\n")[2] == stored.read(0, size)
    await another.close()


@pytest.mark.parametrize("size", [250_000, 3_000_000])
async def test_an_answer_that_breaks_after_its_first_bytes_is_cut_and_never_short(
    worker: RunningWorker, size: int
) -> None:
    stored = worker.fake.shelf.generate("data", "one", size)
    worker.fake.trouble(key="one", rate=size * 4.0)
    (wire,) = (await Gathering.of(worker, 1)).wires
    async with worker.fake.halted("one", 30_000):
        wire.writer.write(request("GET", "/data/one"))
        await wire.reader.readuntil(b"\r\n\r\n")
        assert await wire.reader.readexactly(30_000) == stored.read(0, 30_000)
        await worker.worker._fills.close()
    rest = await wire.reader.read()
    assert len(rest) < size - 30_000
    assert rest == stored.read(30_000, 30_000 + len(rest))
    wire.writer.transport.abort()


@pytest.mark.parametrize("size", [SIZE, 3_000_000])
async def test_a_head_sent_ahead_that_cannot_be_read_is_nobody_elses_misfortune(
    worker: RunningWorker, size: int
) -> None:
    stored = worker.fake.shelf.generate("data", "one", size)
    crowd = await Gathering.of(worker, FEW)
    asked = request("GET", "/data/one", range="bytes=0-99")
    odd = b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n"
    async with worker.fake.held("one"):
        await crowd.ask("one", [asked] * FEW)
        crowd.wires[0].writer.write(odd)
        await crowd.heard()
    for wire in crowd.wires:
        assert (await wire.answer()).partition(b"\r\n\r\n")[2] == stored.read(0, 100)
    assert b" 400 " in await crowd.wires[0].reader.read()
    await crowd.close()


@pytest.mark.parametrize("count", [COUNT, FEW, 1])
@pytest.mark.parametrize("size", [SIZE, 3_000_000])
async def test_what_is_asked_meanwhile_is_answered_after(worker: RunningWorker, size: int, count: int) -> None:
    worker.fake.shelf.generate("data", "one", size)
    crowd = await Gathering.of(worker, count)
    async with worker.fake.held("one"):
        await crowd.ask("one", [request("GET", "/data/one") + request("GET", "/data/known")] * count)
    for wire in crowd.wires:
        assert len((await wire.answer()).partition(b"\r\n\r\n")[2]) == size
        assert len((await wire.answer()).partition(b"\r\n\r\n")[2]) == 1000
    await crowd.close()
