import asyncio
import os

import pytest

from cache.chunks import Chunk
from cache.crowds import TURN, Arrival, Crowd
from cache.faults import UpstreamBroken, UpstreamRefused
from cache.fills.ride import Ride
from cache.pieces import FilePiece, MemoryPiece, Source
from cache.versions import ByteSpan, Entry, ObjectRef, ObjectVersion
from tests.unit.cache.conftest import CHUNK_BYTES

REF = ObjectRef("b", "k")

ARRIVAL = Arrival(Entry(ObjectVersion("o", "b", "k", '"e"', 5), (), checked_at=0.0, token=0), None)


def test_a_crowd_goes_in_the_order_of_its_coming_so_many_at_a_time():
    crowd, called = Crowd(), []
    for number in range(10):
        crowd.join(lambda arrival, number=number: called.append((number, arrival)))
    assert len(crowd) == 10
    sizes = []
    for turn in crowd.turns(4):
        sizes.append(len(turn))
        for waiter in turn:
            waiter.go(ARRIVAL)
    assert sizes == [4, 4, 2]
    assert called == [(number, ARRIVAL) for number in range(10)]


def test_who_has_left_is_not_called_and_nobody_twice():
    crowd, called = Crowd(), []
    waiters = [crowd.join(called.append) for _ in range(3)]
    waiters[1].cancel()
    for waiter in (*waiters, *waiters):
        waiter.go(None)
    assert called == [None, None]


def test_an_empty_crowd_has_no_turns():
    assert list(Crowd().turns()) == []


def test_what_has_arrived_is_seen_in_every_turn_anew_and_what_was_made_of_it_stays():
    version = ObjectVersion("o", "b", "k", '"e"', 5)
    ride = Ride(Chunk(version, 5, 0), fetch=lambda span: pytest.fail("nobody asks"))
    arrival = Arrival(Entry(version, (), checked_at=0.0, token=0), FilePiece(ride, 0, 5, Source.UPSTREAM))
    arrival.shared["asked"] = "made"
    ride.fill.wrote(4)
    assert arrival.seen() == Arrival(arrival.entry, None)
    assert arrival.seen().shared == {"asked": "made"}
    ride.fill.wrote(1)
    assert arrival.seen() is arrival
    assert ARRIVAL.seen() is ARRIVAL


# --- those who wait for a look-up


async def test_the_first_who_expects_an_answer_has_the_question_sent_and_is_called_with_the_next(kit):
    version = kit.origin.put("k", 200_000)
    called = []
    async with kit.origin.hold():
        waiters = [kit.cache.expect(REF, called.append, start=0)]
        asking = asyncio.create_task(kit.cache.entry(REF, start=0))
        await asyncio.sleep(0)
        assert kit.origin.begun == [("k", False)]
        waiters += [kit.cache.expect(REF, called.append, start=0) for _ in range(39)]
        waiters[7].cancel()
        assert not called
    entry = await asking
    await kit.settled()
    assert {arrival.entry for arrival in called} == {entry}
    assert len(called) == 39
    pieces = [kit.cache.arrived(arrival, ByteSpan(5, 150_000)) for arrival in called]
    body = kit.origin.body(version)[5:150_000]
    assert all(os.pread(piece.reader.fd, piece.length, piece.offset) == body for piece in pieces)
    assert kit.cache.arrived(called[0], ByteSpan(5, 200_001)) is None
    assert (kit.origin.begun, kit.origin.heads, kit.origin.calls) == ([("k", False)], [], [])
    assert kit.cache.expect(REF, called.append, start=0) is None
    assert len(kit.origin.begun) == 1


async def test_a_crowd_is_not_kept_waiting_for_a_chunk_that_is_large_or_slow(kit):
    for size in (CHUNK_BYTES, 200_000):
        kit.origin.put(f"k{size}", size)
        ref, called = ObjectRef("b", f"k{size}"), asyncio.Queue(40)
        async with kit.origin.pause_at(100_000):
            for _ in range(41):
                kit.cache.expect(ref, called.put_nowait, start=0)
            entry = await kit.cache.entry(ref, start=0)
            arrivals = [await called.get() for _ in range(40)]
        assert {(arrival.entry, arrival.chunk) for arrival in arrivals} == {(entry, None)}
        await kit.settled()


@pytest.mark.parametrize(("size", "piece"), [(100, 100), (100, 40), (3 * CHUNK_BYTES, 300), (1, 1)])
async def test_a_few_are_called_with_the_first_bytes_in_the_moment_in_which_they_come(kit, size, piece):
    version = kit.origin.put("k", size)
    kit.origin.piece_bytes = piece
    called = []
    async with kit.origin.hold():
        for _ in range(TURN):
            kit.cache.expect(REF, lambda arrival: called.append((arrival, bytes(arrival.early.data))), start=0)
    await kit.settled()
    body = kit.origin.body(version)
    assert [early for _, early in called] == [body[:piece]] * TURN
    assert {(arrival.entry.version, arrival.chunk) for arrival, _ in called} == {(version, None)}
    assert (kit.origin.begun, kit.origin.heads) == ([("k", False)], [])


async def test_what_has_come_of_a_span_is_handed_out_and_what_has_not_is_not(kit):
    data = bytes(range(100))
    arrival = Arrival(ARRIVAL.entry, None, MemoryPiece(memoryview(data), Source.UPSTREAM))
    for start, stop in ((0, 100), (0, 7), (5, 100), (5, 400), (99, 101)):
        assert bytes(kit.cache.arrived(arrival, ByteSpan(start, stop)).data) == data[start:stop]
    assert kit.cache.arrived(arrival, ByteSpan(100, 101)) is None


async def test_a_few_are_let_go_without_bytes_when_none_come(kit):
    kit.origin.put("k", 200)
    kit.origin.piece_bytes = 100
    called = asyncio.Queue(2)
    async with kit.origin.pause_at(0):
        for _ in range(2):
            kit.cache.expect(REF, called.put_nowait, start=0)
        arrivals = [await called.get() for _ in range(2)]
        assert [(arrival.chunk, arrival.early) for arrival in arrivals] == [(None, None)] * 2
    await kit.settled()


async def test_a_few_are_let_go_when_the_fill_breaks_before_its_first_byte(kit):
    version = kit.origin.put("k", 200)
    kit.origin.troubles.append((0, UpstreamBroken("cut")))
    called = []
    async with kit.origin.hold():
        kit.cache.expect(REF, called.append, start=0)
    await kit.settled()
    assert [(arrival.entry.version, arrival.chunk, arrival.early) for arrival in called] == [(version, None, None)]


async def test_first_bytes_from_before_a_write_are_not_handed_out_after_it(kit):
    kit.origin.put("k", 200)
    kit.origin.piece_bytes = 100
    called, put = [], kit.catalog.put

    def written(ref, entry):
        put(ref, entry)
        kit.catalog.invalidate([ref])

    kit.catalog.put = written
    async with kit.origin.hold():
        kit.cache.expect(REF, called.append, start=0)
    await kit.settled()
    await asyncio.sleep(0)
    assert called == [None]


async def test_a_call_that_fails_is_nobody_elses_misfortune(kit):
    version = kit.origin.put("k", 210_000)
    told, called = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))

    def fails(arrival):
        raise OSError(arrival)

    async with kit.origin.hold():
        kit.cache.expect(REF, fails, start=0)
        for _ in range(3):
            kit.cache.expect(REF, called.append, start=0)
    await kit.settled()
    assert (len(told), len(called)) == (1, 3)
    assert await kit.read(version, ByteSpan(0, 210_000)) == kit.origin.body(version)
    assert (len(kit.origin.begun), kit.origin.calls) == (1, [])


async def test_what_is_let_go_because_it_is_late_is_not_from_before_a_write(kit):
    kit.origin.put("k", 200)
    kit.origin.piece_bytes = 100
    called = asyncio.Queue(1)
    async with kit.origin.pause_at(0):
        kit.cache.expect(REF, called.put_nowait, start=0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert kit.catalog.find(REF) is not None
        kit.catalog.invalidate([REF])
        assert await called.get() is None
    await kit.settled()


async def test_an_answer_that_took_longer_than_it_counts_is_asked_for_once(kit):
    kit.origin.put("k", 200)
    kit.origin.piece_bytes = 100
    gone_on = asyncio.Queue(1)

    def call(arrival):
        gone_on.put_nowait(asyncio.create_task(kit.cache.entry(REF, start=0)))

    async with kit.origin.pause_at(0):
        async with kit.origin.hold():
            kit.cache.expect(REF, call, start=0)
            await asyncio.sleep(0)
            kit.clock.now += 6.0
        assert (await (await gone_on.get())).version.size == 200
    assert (len(kit.origin.begun), kit.origin.heads) == (1, [])
    await kit.settled()


async def test_who_asks_for_himself_has_his_own_answer(kit):
    """Trust is lost while a question is under way, whose answer comes in the same moment as his."""
    older, newer = kit.origin.put("k", 200, '"v1"'), kit.origin.put("k", 200, '"v2"')
    kit.origin.piece_bytes = 100

    class Written(dict[ObjectRef, ObjectVersion]):
        """Between the two requests, the first of which is answered first."""

        def get(self, ref, default=None):
            return versions.pop(0)

    versions = [older, newer]
    kit.origin.objects = Written()
    async with kit.origin.hold():
        kit.cache.expect(REF, lambda _: None, start=0)
        await asyncio.sleep(0)
        kit.peers.believed = False
        asking = asyncio.create_task(kit.cache.entry(REF, start=0))
        await asyncio.sleep(0)
    assert (await asking).version == newer
    await kit.settled()


async def test_who_is_called_without_an_answer_joins_the_question_that_had_none(kit):
    called = asyncio.Queue(40)

    def call(arrival):
        called.put_nowait((arrival, asyncio.create_task(kit.cache.entry(REF, start=0))))

    async with kit.origin.hold():
        for _ in range(41):
            kit.cache.expect(REF, call, start=0)
    for _ in range(40):
        arrival, asking = await called.get()
        assert arrival is None
        with pytest.raises(UpstreamRefused):
            await asking
    assert kit.origin.begun == [("k", False)]
    with pytest.raises(UpstreamRefused):
        await kit.cache.entry(REF, start=0)
    assert len(kit.origin.begun) == 2


async def test_where_everybody_asks_for_himself_nobody_waits_with_others(kit):
    kit.origin.put("k", 100)
    kit.peers.believed = False
    assert kit.cache.expect(REF, lambda _: None, start=0) is None
    await kit.cache.entry(REF, start=0)
    assert kit.origin.begun == []
    assert len(kit.origin.heads) == 1


async def test_nobody_joins_a_question_while_a_write_may_have_been_missed(kit):
    kit.origin.put("k", 100)
    async with kit.origin.hold():
        kit.cache.expect(REF, lambda _: None, start=0)
        kit.peers.believed = False
        assert kit.cache.expect(REF, lambda _: None, start=0) is None


async def test_an_answer_from_before_a_write_is_not_handed_out_after_it(kit):
    kit.origin.put("k", 100)
    called = []
    async with kit.origin.hold():
        kit.cache.expect(REF, called.append, start=0)
        for _ in range(3):
            kit.cache.expect(REF, called.append, start=0)
        kit.catalog.invalidate([REF])
    await kit.settled()
    await asyncio.sleep(0)
    assert called == [None] * 4
