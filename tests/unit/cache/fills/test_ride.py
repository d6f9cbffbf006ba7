import asyncio

import pytest

from cache.chunks import Chunk
from cache.faults import UpstreamBroken
from cache.fills.ride import Ride
from cache.fills.scratch import Scratch
from cache.versions import ByteSpan, ObjectVersion

CHUNK = Chunk(ObjectVersion("u", "b", "k", '"e"', 1000), 1000, 0)


def ride_of(span=None):
    ride = Ride(CHUNK, fetch=lambda span: pytest.fail("nobody asks"), span=span)
    ride.writer = Scratch(ride.span.start)
    return ride


def advance(ride, count):
    ride.writer.append(bytes(count))
    ride.fill.wrote(count)
    ride.wake()


async def test_riders_wait_until_the_file_has_grown_past_them():
    ride = ride_of()
    waiting = asyncio.create_task(ride.reached(99))
    for bound in (50, 100, 150):
        await asyncio.sleep(0)
        assert waiting.done() == (bound == 150)
        advance(ride, 50)
    assert await waiting == 100
    assert ride.ready(0, 150)
    assert not ride.ready(0, 151)


async def test_a_part_knows_only_what_it_has():
    ride = ride_of(ByteSpan(400, 600))
    advance(ride, 100)
    assert await ride.reached(400) == 500
    assert [ride.ready(*span) for span in ((400, 500), (399, 500), (400, 501))] == [True, False, False]
    assert ride.length == 1000


async def test_a_fault_is_everybodys():
    ride = ride_of()
    riders = [asyncio.create_task(ride.reached(10)) for _ in range(3)]
    await asyncio.sleep(0)
    ride.fault = UpstreamBroken("short")
    ride.wake()
    assert {type(fault) for fault in await asyncio.gather(*riders, return_exceptions=True)} == {UpstreamBroken}


async def test_a_rider_that_leaves_disturbs_nobody():
    ride = ride_of()
    riders = [asyncio.create_task(ride.reached(10)) for _ in range(2)]
    await asyncio.sleep(0)
    riders[0].cancel()
    advance(ride, 20)
    assert await riders[1] == 20


async def test_the_first_bytes_are_had_from_memory_until_they_are_on_file():
    ride = ride_of(ByteSpan(400, 600))
    waiting = asyncio.create_task(ride.early_from(410))
    await asyncio.sleep(0)
    ride.early = b"abcdefghijkl"
    ride.wake()
    assert bytes(await waiting) == b"kl"
    advance(ride, 12)
    assert await ride.early_from(410) is None


async def test_who_waits_for_early_bytes_hears_of_the_fault():
    ride = ride_of()
    waiting = asyncio.create_task(ride.early_from(0))
    await asyncio.sleep(0)
    ride.fault = UpstreamBroken("short")
    ride.wake()
    with pytest.raises(UpstreamBroken):
        await waiting
