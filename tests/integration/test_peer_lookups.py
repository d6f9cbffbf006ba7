"""What a key holds, asked of the owner of its first chunk over real sockets."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cache.faults import BudgetSpent, PeerPassedOn, PeerRefused, PeerUnreachable, UpstreamRefused
from cache.versions import Entry, ObjectRef
from tests.doubles.peer_pair import CHUNK, OWNER, PeerPair

REF = ObjectRef("b", "k/ä")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[PeerPair]:
    cluster = PeerPair(tmp_path)
    cluster.connect(cluster.members_with(await cluster.serve()))
    yield cluster
    await cluster.close()


async def look_up(cluster: PeerPair, *, checksums: bool = False, age_max_s: float = math.inf) -> Entry:
    return await cluster.client.look_up(OWNER, REF, checksums=checksums, age_max_s=age_max_s)


@pytest.mark.parametrize("checksums", [False, True])
async def test_the_owners_entry_arrives(cluster: PeerPair, *, checksums: bool) -> None:
    entry = await look_up(cluster, checksums=checksums, age_max_s=2.5)
    assert entry == Entry(CHUNK.version, (("etag", '"e"'),), -0.5, 0, partial=not checksums)
    assert cluster.host.looked_up == [(REF, checksums, 2.5)]


async def test_one_link_serves_one_question_after_the_other(cluster: PeerPair) -> None:
    for _ in range(20):
        await look_up(cluster)
    assert not list(cluster.client.check())


async def test_a_slow_upstream_is_told_from_a_dead_owner(cluster: PeerPair) -> None:
    await cluster.client.close()
    cluster.connect(cluster.members, silence_s=0.5)
    cluster.host.gate.clear()
    asyncio.get_running_loop().call_later(1.0, cluster.host.gate.set)
    assert (await look_up(cluster)).version == CHUNK.version


async def test_upstreams_refusal_arrives_with_its_document(cluster: PeerPair) -> None:
    cluster.host.fault = UpstreamRefused(404, (("x-a", "ß"),), b"<E/>")
    with pytest.raises(PeerPassedOn) as caught:
        await look_up(cluster)
    assert vars(caught.value.cause) == vars(cluster.host.fault)


async def test_the_owners_own_trouble_is_a_refusal(cluster: PeerPair) -> None:
    cluster.host.fault = BudgetSpent("fills_queued")
    with pytest.raises(PeerRefused):
        await look_up(cluster)
    cluster.host.fault = None
    assert (await look_up(cluster)).version == CHUNK.version


async def test_who_leaves_cuts_the_link(cluster: PeerPair) -> None:
    cluster.host.gate.clear()
    asking = asyncio.create_task(look_up(cluster))
    while not cluster.host.looked_up:
        await asyncio.wait({asking}, timeout=0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    cluster.host.gate.set()
    assert (await look_up(cluster)).version == CHUNK.version


async def test_an_owner_that_stays_silent_is_left_alone(tmp_path: Path) -> None:
    pair = PeerPair(tmp_path)
    pair.connect(pair.members_with(await pair.serve(waiting_every_s=600.0)), silence_s=0.05)
    pair.host.gate.clear()
    for _ in range(8):
        with pytest.raises(PeerUnreachable):
            await look_up(pair)
    assert len(pair.host.looked_up) == 5
    pair.host.gate.set()
    await pair.close()
