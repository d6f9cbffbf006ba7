import asyncio
import math

import pytest

from cache.chunks import Chunk
from cache.faults import (
    OwnFault,
    PeerLied,
    PeerPassedOn,
    PeerRefused,
    PeerUnreachable,
    UpstreamBroken,
    UpstreamRefused,
    UpstreamUnreachable,
    VersionChanged,
)
from cache.lookups import BEGUN_MAX, START_MAX
from cache.versions import ByteSpan, Entry, ObjectRef
from cache.views import Owner
from tests.unit.cache.conftest import CHUNK_BYTES

REF = ObjectRef("b", "k")
OTHER_NODE = Owner("n2", 0)


async def test_a_key_that_nothing_is_known_of_costs_one_request(kit):
    version = kit.origin.put("k", 700_000)
    entry = await kit.cache.entry(REF, start=0)
    assert entry.version == version
    assert await kit.read(version, ByteSpan(0, version.size)) == kit.origin.body(version)
    await kit.settled()
    assert (kit.origin.begun, kit.origin.heads, kit.origin.calls) == ([("k", False)], [], [])
    assert kit.cache.known(REF) == entry
    assert kit.held(version, ByteSpan(0, version.size)) is not None
    assert kit.tally.read()["fills_sealed"] == 1


async def test_the_rest_of_a_large_object_is_fetched_by_chunk(kit):
    version = kit.origin.put("k", 2 * CHUNK_BYTES + 5)
    await kit.cache.entry(REF, start=0)
    assert await kit.read(version, ByteSpan(0, version.size)) == kit.origin.body(version)
    await kit.settled()
    assert kit.origin.heads == []
    assert sorted(span.start for _, span in kit.origin.calls) == [CHUNK_BYTES, 2 * CHUNK_BYTES]


async def test_everybody_who_asks_at_once_shares_the_request_and_its_bytes(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    async with kit.origin.hold():
        asking = [asyncio.create_task(kit.cache.entry(REF, start=number)) for number in range(50)]
        await asyncio.sleep(0)
        asking[0].cancel()
    entries = await asyncio.gather(*asking, return_exceptions=True)
    assert {entry.version for entry in entries[1:]} == {version}
    await asyncio.gather(*(kit.read(version, ByteSpan(0, version.size)) for _ in range(20)))
    assert (kit.origin.begun, kit.origin.heads, kit.origin.calls) == ([("k", False)], [], [])


@pytest.mark.parametrize("start", [None, START_MAX, 5 * CHUNK_BYTES])
async def test_what_nobody_reads_from_its_beginning_is_asked_about_by_head(kit, start):
    kit.origin.put("k", CHUNK_BYTES)
    await kit.cache.entry(REF, start=start)
    assert (kit.origin.begun, kit.origin.heads) == ([], [REF])


async def test_a_named_version_is_asked_about_by_head(kit):
    ref = ObjectRef("b", "k", "v7")
    kit.origin.objects[ref] = kit.origin.put("k", CHUNK_BYTES)
    await kit.cache.entry(ref, start=0)
    assert (kit.origin.begun, kit.origin.heads) == ([], [ref])


async def test_an_entry_that_has_grown_old_is_asked_about_by_head_and_its_chunks_stay(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    await kit.cache.entry(REF, start=0)
    await kit.settled()
    kit.clock.now += 6
    assert (await kit.cache.entry(REF, start=0)).version == version
    assert (kit.origin.begun, kit.origin.heads) == ([("k", False)], [REF])
    assert kit.held(version, ByteSpan(0, version.size)) is not None


async def test_a_chunk_that_is_in_the_store_is_not_filled_again(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    await kit.read(version, ByteSpan(0, 10))
    await kit.settled()
    await kit.cache.entry(REF, start=0)
    await kit.settled()
    assert kit.tally.read()["fills_started"] == 1


async def test_an_empty_object_is_known_too(kit):
    kit.origin.put("k", 0)
    assert (await kit.cache.entry(REF, start=0)).version.size == 0
    assert kit.origin.heads == [REF]


async def test_what_is_not_there_costs_one_request_and_brings_upstreams_document(kit):
    with pytest.raises(UpstreamRefused) as refused:
        await kit.cache.entry(REF, start=0)
    assert (refused.value.status, refused.value.body) == (404, b"<Error/>")
    assert kit.origin.heads == []


async def test_an_answer_of_no_use_is_followed_by_head(kit):
    version = kit.origin.put("k", 10)
    kit.origin.troubles = [(-1, UpstreamBroken("another range"))]
    assert (await kit.cache.entry(REF, start=0)).version == version
    assert kit.origin.heads == [REF]


async def test_an_upstream_that_is_down_is_not_asked_twice(kit):
    kit.origin.put("k", 10)
    kit.origin.troubles = [(-1, UpstreamUnreachable("refused"))]
    with pytest.raises(UpstreamUnreachable):
        await kit.cache.entry(REF, start=0)
    assert kit.origin.heads == []


async def test_bytes_that_break_off_after_the_entry_are_asked_for_again(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    kit.origin.troubles = [(300_000, UpstreamBroken("cut"))]
    await kit.cache.entry(REF, start=0)
    assert await kit.read(version, ByteSpan(0, CHUNK_BYTES)) == kit.origin.body(version)
    assert len(kit.origin.calls) == 1


async def test_checksums_are_asked_for_when_an_entry_lacks_them(kit):
    kit.origin.put("k", 10)
    assert (await kit.cache.entry(REF, start=0)).partial
    assert not (await kit.cache.entry(REF, start=0, checksums=True)).partial
    assert not (await kit.cache.entry(REF, start=0)).partial
    assert (kit.origin.begun, kit.origin.heads) == ([("k", False)], [REF])


async def test_who_wants_checksums_asks_for_the_whole_object(kit):
    kit.origin.put("k", 10)
    assert not (await kit.cache.entry(REF, start=0, checksums=True)).partial
    assert (kit.origin.begun, kit.origin.heads) == ([("k", True)], [])


async def test_the_owner_of_the_first_chunk_is_asked(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    kit.owners[0] = OTHER_NODE
    kit.peers.found = lambda ref: Entry(version, (("a", "b"),), -2.0, 0, partial=True)
    entry = await kit.cache.entry(REF, start=0)
    assert entry == Entry(version, (("a", "b"),), kit.clock.now - 2.0, kit.catalog.token(REF), partial=True)
    assert kit.peers.looked_up == [(REF, False, 5.0)]
    assert (kit.origin.begun, kit.origin.heads) == ([], [])
    kit.clock.now += 2.9
    assert kit.cache.known(REF) is not None
    kit.clock.now += 0.2
    assert kit.cache.known(REF) is None


@pytest.mark.parametrize("fault", [PeerUnreachable("dead"), PeerLied("?"), PeerRefused("full")])
async def test_an_owner_that_fails_is_done_without(kit, fault):
    version = kit.origin.put("k", CHUNK_BYTES)
    kit.owners[0] = OTHER_NODE
    kit.peers.breaks = [(0, fault)]
    assert (await kit.cache.entry(REF, start=0)).version == version
    assert kit.origin.heads == [REF]
    assert kit.tally.read()["peer_errors"] == 1


@pytest.mark.parametrize(
    ("cause", "heads"),
    [(UpstreamRefused(404, (), b"<E/>"), 0), (UpstreamUnreachable("x"), 0), (UpstreamRefused(416), 1)],
)
async def test_what_the_owner_heard_of_upstream_counts(kit, cause, heads):
    kit.origin.put("k", CHUNK_BYTES)
    kit.owners[0] = OTHER_NODE
    kit.peers.breaks = [(0, PeerPassedOn(cause))]
    if heads:
        await kit.cache.entry(REF, start=0)
    else:
        with pytest.raises(type(cause)):
            await kit.cache.entry(REF, start=0)
    assert len(kit.origin.heads) == heads


async def test_the_owner_answers_from_its_catalog_while_that_counts_for_the_asker(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    found = await kit.lookups.look_up(REF, checksums=False, age_max_s=5.0)
    assert (found.version, found.checked_at, found.token) == (version, 0.0, 0)
    kit.clock.now += 3
    assert (await kit.lookups.look_up(REF, checksums=False, age_max_s=math.inf)).checked_at == -3.0
    assert len(kit.origin.begun) + len(kit.origin.heads) == 1
    assert (await kit.lookups.look_up(REF, checksums=False, age_max_s=2.0)).checked_at == 0.0
    assert kit.origin.heads == [REF]


async def test_the_owner_asks_nobody_else(kit):
    kit.origin.put("k", CHUNK_BYTES)
    kit.owners[0] = OTHER_NODE
    assert not (await kit.lookups.look_up(REF, checksums=True, age_max_s=5.0)).partial
    assert kit.peers.looked_up == []
    assert kit.origin.begun == [("k", True)]


async def test_the_owner_completes_an_entry_that_lacks_checksums(kit):
    kit.origin.put("k", CHUNK_BYTES)
    await kit.lookups.look_up(REF, checksums=False, age_max_s=5.0)
    assert not (await kit.lookups.look_up(REF, checksums=True, age_max_s=5.0)).partial
    assert kit.origin.heads == [REF]


async def test_while_a_write_may_have_been_missed_everybody_asks_for_himself(kit):
    kit.origin.put("k", 10)
    kit.peers.believed = False
    async with kit.origin.hold():
        asking = [asyncio.create_task(kit.cache.entry(REF, start=0)) for _ in range(3)]
        await kit.origin.until(lambda: len(kit.origin.heads) == 3)
    await asyncio.gather(*asking)
    assert kit.origin.begun == []


async def test_a_write_that_another_worker_of_the_node_heard_of_makes_a_question_void(kit):
    kit.origin.put("k", 10, '"v1"')
    async with kit.origin.hold():
        old = asyncio.create_task(kit.cache.entry(REF))
        await kit.origin.until(lambda: bool(kit.origin.heads))
        kit.catalog.invalidate([REF])
        fresh = asyncio.create_task(kit.cache.entry(REF))
        await kit.origin.until(lambda: len(kit.origin.heads) == 2)
    await asyncio.gather(old, fresh)


@pytest.mark.parametrize("budget", ["_queue", "_questions"])
async def test_where_too_much_is_under_way_a_question_is_asked_by_head(kit, budget):
    getattr(kit.fills, budget).limit = 1
    kit.origin.put("k", 10)
    kit.origin.put("other", 20)
    other = ObjectRef("b", "other")
    async with kit.origin.hold():
        first = asyncio.create_task(kit.cache.entry(REF, start=0))
        await kit.origin.until(lambda: bool(kit.origin.begun))
        second = asyncio.create_task(kit.cache.entry(other, start=0))
        await kit.origin.until(lambda: bool(kit.origin.heads))
    assert (await first).version.size == 10
    assert (await second).version.size == 20
    assert kit.origin.heads == [other]


async def test_an_entry_is_asked_for_once_however_many_wait(kit):
    kit.origin.put("k", 10)
    async with kit.origin.hold():
        asking = [asyncio.create_task(kit.cache.entry(REF)) for _ in range(50)]
        await asyncio.sleep(0)
        asking[0].cancel()
    entries = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(entries[0], asyncio.CancelledError)
    assert len({entry.version for entry in entries[1:]}) == 1
    assert kit.origin.heads == [REF]


async def test_an_entry_counts_until_its_ttl_is_over(kit):
    kit.origin.put("k", 10)
    await kit.cache.entry(REF)
    kit.clock.now += 4.9
    assert kit.cache.known(REF) is not None
    kit.clock.now += 0.2
    assert kit.cache.known(REF) is None
    await kit.cache.entry(REF)
    assert len(kit.origin.heads) == 2


async def test_without_the_members_leases_upstream_is_asked_each_time(kit):
    kit.origin.put("k", 10)
    kit.peers.believed = False
    await kit.cache.entry(REF)
    await kit.cache.entry(REF)
    assert len(kit.origin.heads) == 2


async def test_what_upstream_refuses_is_not_remembered(kit):
    with pytest.raises(UpstreamRefused):
        await kit.cache.entry(REF)
    kit.origin.put("k", 10)
    assert (await kit.cache.entry(REF)).version.size == 10


async def test_a_write_during_the_question_makes_its_answer_void(kit):
    old = kit.origin.put("k", 10, '"v1"')
    async with kit.origin.hold():
        asking = asyncio.create_task(kit.cache.entry(REF))
        await kit.origin.until(lambda: bool(kit.origin.heads))
        await kit.cache.invalidate([REF])
        fresh = asyncio.create_task(kit.cache.entry(REF))
        await asyncio.sleep(0)
        new = kit.origin.put("k", 11, '"v2"')
    await asyncio.gather(asking, fresh)
    assert len(kit.origin.heads) == 2
    assert (await kit.cache.entry(REF)).version == new != old
    assert kit.peers.told == [REF]


@pytest.mark.parametrize(("late", "served"), [(9.9, True), (10.1, False)])
async def test_a_stale_entry_serves_while_upstream_is_down_if_the_operator_says_so(kit, late, served):
    version = kit.origin.put("k", 10)
    kit.lookups.stale_if_error_s = 5.0
    await kit.cache.entry(REF)
    kit.clock.now += late

    async def down(ref):
        raise UpstreamUnreachable("refused")

    kit.origin.head = down
    if served:
        assert (await kit.cache.entry(REF)).version == version
    else:
        with pytest.raises(UpstreamUnreachable):
            await kit.cache.entry(REF)


async def test_a_first_chunk_that_another_node_was_just_served_is_not_fetched_again(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    kit.lookups.serving(Chunk(version, CHUNK_BYTES, 0))
    await kit.lookups.look_up(REF, checksums=False, age_max_s=5.0)
    assert (kit.origin.begun, kit.origin.heads) == ([], [REF])
    await kit.cache.invalidate([REF])
    await kit.lookups.look_up(REF, checksums=False, age_max_s=5.0)
    assert kit.origin.begun == [("k", False)]


async def test_what_was_served_is_remembered_for_a_while(kit):
    versions = [kit.origin.put(f"k{number}", 10) for number in range(BEGUN_MAX + 1)]
    for version in versions:
        kit.lookups.serving(Chunk(version, CHUNK_BYTES, 0))
    for key in ("k0", f"k{BEGUN_MAX}"):
        await kit.lookups.look_up(ObjectRef("b", key), checksums=False, age_max_s=5.0)
    assert kit.origin.begun == [("k0", False)]


async def test_when_all_entries_cease_to_count_chunks_that_are_here_are_not_fetched_again(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    await kit.cache.entry(REF, start=0)
    await kit.settled()
    kit.catalog.invalidate([REF])
    assert (await kit.cache.entry(REF, start=0)).version == version
    assert (kit.origin.begun, kit.origin.heads) == ([("k", False)], [REF])
    kit.store.evict(Chunk(version, CHUNK_BYTES, 0))
    kit.catalog.invalidate([REF])
    await kit.cache.entry(REF, start=0)
    assert kit.origin.begun == [("k", False)] * 2


async def test_an_empty_object_has_no_first_chunk(kit):
    """Once it is known to be empty, a GET of its first bytes would only be refused."""
    kit.origin.put("k", 0)
    await kit.cache.entry(REF, start=0)
    kit.catalog.invalidate([REF])
    await kit.cache.entry(REF, start=0)
    assert (len(kit.origin.begun), kit.origin.heads) == (1, [REF, REF])


async def test_who_comes_for_the_chunk_of_a_question_under_way_rides_on_its_answer(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    async with kit.origin.hold():
        asking = asyncio.create_task(kit.cache.entry(REF, start=0))
        await kit.origin.until(lambda: bool(kit.origin.begun))
        riding = asyncio.create_task(kit.read(version, ByteSpan(0, CHUNK_BYTES)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert await riding == kit.origin.body(version)
    assert (await asking).version == version
    assert (kit.origin.begun, kit.origin.calls) == ([("k", False)], [])


@pytest.mark.parametrize("how", ["another version", "a refusal"])
async def test_who_hoped_in_vain_is_fetched_for(kit, how):
    version = kit.origin.put("k", CHUNK_BYTES)
    async with kit.origin.hold():
        asking = asyncio.create_task(kit.cache.entry(REF, start=0))
        await kit.origin.until(lambda: bool(kit.origin.begun))
        riding = asyncio.create_task(kit.read(version, ByteSpan(0, CHUNK_BYTES)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if how == "another version":
            kit.origin.put("k", CHUNK_BYTES, '"v2"')
        else:
            del kit.origin.objects[REF]
    await asyncio.gather(asking, return_exceptions=True)
    with pytest.raises(VersionChanged):
        await riding


async def test_closing_tells_those_who_hope(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    async with kit.origin.hold():
        asking = asyncio.create_task(kit.cache.entry(REF, start=0))
        await kit.origin.until(lambda: bool(kit.origin.begun))
        riding = asyncio.create_task(kit.read(version, ByteSpan(0, CHUNK_BYTES)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await kit.fills.close()
    assert {type(fault) for fault in await asyncio.gather(asking, riding, return_exceptions=True)} == {OwnFault}
