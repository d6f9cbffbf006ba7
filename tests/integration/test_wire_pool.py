"""All wires to upstream: kept, limited, and had at once when one is at rest."""

from __future__ import annotations

import asyncio

import pytest

from cache.faults import UpstreamUnreachable
from tests.integration.test_wires import DONE, answer_each, ask, serving, whole, wires


async def test_a_wire_is_used_again() -> None:
    pool = wires()
    async with serving(answer_each) as server:
        for _ in range(3):
            wire = await pool.take(server.place, 1.0)
            assert (await ask(wire), await whole(wire)) == (200, b"done")
            pool.give(server.place, wire)
        assert server.connections == 1
        pool.close()


@pytest.mark.parametrize("unread", [True, False])
async def test_a_wire_that_was_left_or_spoilt_is_not(*, unread: bool) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(DONE if unread else DONE + b"and more")

    pool = wires()
    async with serving(talk) as server:
        for _ in range(3):
            wire = await pool.take(server.place, 1.0)
            assert await ask(wire) == 200
            if not unread:
                assert await whole(wire) == b"done"
            pool.give(server.place, wire)
        assert server.connections == (1 if unread else 3)  # four bytes that came with the head are no reason to cut
        pool.close()


async def test_a_wire_that_upstream_closed_at_rest_is_not_taken() -> None:
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(DONE)
        writer.close()
        await writer.wait_closed()
        closed.set()

    pool = wires()
    async with serving(talk) as server:
        for _ in range(5):
            wire = await pool.take(server.place, 1.0)
            assert (await ask(wire), await whole(wire)) == (200, b"done")
            await closed.wait()
            closed.clear()
            pool.give(server.place, wire)
        assert server.connections == 5
        pool.close()


async def test_no_more_are_in_use_than_the_limit() -> None:
    pool = wires(limit=2)
    async with serving(answer_each) as server:
        held = [await pool.take(server.place, 1.0) for _ in range(2)]
        with pytest.raises(UpstreamUnreachable):
            await pool.take(server.place, 0.01)
        waiting = asyncio.create_task(pool.take(server.place, 5.0))
        await ask(held[0])
        await whole(held[0])
        pool.give(server.place, held[0])
        assert await waiting is held[0]
        pool.close()


async def test_one_at_rest_is_had_at_once_and_no_other() -> None:
    pool = wires(limit=1)
    async with serving(answer_each) as server:
        assert pool.take_rested(server.place) is None
        wire = await pool.take(server.place, 1.0)
        assert pool.take_rested(server.place) is None
        await ask(wire)
        await whole(wire)
        pool.give(server.place, wire)
        assert pool.take_rested(server.place) is wire
        waiting = asyncio.create_task(pool.take(server.place, 5.0))
        await asyncio.sleep(0)
        await ask(wire)
        await whole(wire)
        pool.give(server.place, wire)
        assert pool.take_rested(server.place) is None  # another was there before
        assert await waiting is wire
        pool.close()


async def test_who_waits_for_one_and_leaves_takes_none() -> None:
    pool = wires(limit=1)
    async with serving(answer_each) as server:
        wire = await pool.take(server.place, 1.0)
        waiting = [asyncio.create_task(pool.take(server.place, 5.0)) for _ in range(4)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await ask(wire)
        await whole(wire)
        waiting[1].cancel()
        pool.give(server.place, wire)
        waiting[2].cancel()  # it has just been given the place
        assert (await asyncio.gather(*waiting, return_exceptions=True))[3] is wire
        pool.close()


async def test_nobody_is_there() -> None:
    async with serving(answer_each) as server:
        place = server.place
    pool = wires(limit=1)
    for _ in range(3):  # and the place is free again each time
        with pytest.raises(UpstreamUnreachable):
            await pool.take(place, 0.5)
