"""Trust between nodes, over real sockets: invalidations, leases, dead members and silent ones."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cache.versions import ObjectRef
from cache.views import Owner
from tests.doubles.peer_pair import FakeClock, PeerPair, nothing, raw_server


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[PeerPair]:
    cluster = PeerPair(tmp_path)
    cluster.connect(cluster.members_with(await cluster.serve()))
    yield cluster
    await cluster.close()


async def served(cluster: PeerPair, port: int) -> bool:
    """Whether the server could have that port."""
    try:
        await cluster.serve(port=port)
    except OSError:
        return False
    return True


REFS = [ObjectRef("b", f"key-{index}") for index in range(2500)]


async def test_an_invalidation_is_obeyed_before_it_returns(cluster: PeerPair) -> None:
    await cluster.client.invalidate(REFS)
    assert cluster.host.invalidated == REFS


async def test_a_lease_is_granted_after_one_distrust(cluster: PeerPair) -> None:
    assert not cluster.client.trusted()
    cluster.client.start()
    await cluster.held.any_renewed.wait()
    assert cluster.client.trusted()
    assert cluster.distrusted == 1


async def test_a_dead_member_is_neither_waited_for_nor_needed(tmp_path: Path) -> None:
    cluster = PeerPair(tmp_path)
    async with raw_server(lambda reader, writer: reader.read()) as port:
        pass  # the port is free again: it refuses
    client = cluster.connect(cluster.members_with(port, workers=1), lease_s=600.0)
    client.start()
    await client.invalidate(REFS[:1])  # with a lease of ten minutes: the test's own limit would end a wait
    await cluster.held.any_renewed.wait()
    assert client.trusted()
    await cluster.close()


async def test_the_first_refusal_and_one_after_a_gap_make_the_node_distrust_and_others_prolong(tmp_path: Path) -> None:
    cluster = PeerPair(tmp_path)
    cluster.clock = clock = FakeClock()
    client = cluster.connect(cluster.members_with(await cluster.serve()), lease_s=5.0)
    owner = cluster.members.current().nodes[0]
    await client._keeper._renew(owner)
    assert cluster.distrusted == 1
    await cluster.server.close()
    for passed_s, distrusted in [(1.0, 2), (1.0, 2), (3.0, 2), (1.0, 3), (1.0, 3), (4.9, 3)]:
        clock.now += passed_s
        assert client.trusted()
        await client._keeper._renew(owner)  # refused: it died, perhaps in mid-write; once more a lease later
        assert cluster.distrusted == distrusted
    clock.now += 5.0
    assert not client.trusted()
    await client._keeper._renew(owner)  # refused, after a gap: it may have given up telling us, then died
    assert cluster.distrusted == 4
    assert client.trusted()
    await cluster.close()


async def test_a_death_is_noticed_once_by_the_workers_of_a_node_and_again_after_a_new_lease(tmp_path: Path) -> None:
    cluster = PeerPair(tmp_path)
    port = await cluster.serve()
    one = cluster.connect(cluster.members_with(port))
    other = cluster.connect(cluster.members_with(port), me=Owner("reader", 1))
    owner = cluster.members.current().nodes[0]
    await one._keeper._renew(owner)
    await other._keeper._renew(owner)
    assert cluster.distrusted == 1
    for deaths in (1, 2):
        await cluster.server.close()
        await one._keeper._renew(owner)
        await other._keeper._renew(owner)
        assert cluster.distrusted == 1 + deaths
        await cluster.serve(port=port)
        await other._keeper._renew(owner)
        assert cluster.distrusted == 1 + deaths
    await one.close()
    await cluster.close()


async def test_a_hung_member_is_waited_for_one_lease_and_then_no_more(tmp_path: Path) -> None:
    cluster = PeerPair(tmp_path)
    async with raw_server(nothing) as port:
        client = cluster.connect(cluster.members_with(port), lease_s=0.4)
        table = cluster.tables[-1]
        _, standing = table.asked("owner", 0)
        assert table.asked("owner", standing)[0] == 0.4  # it holds a lease from now on
        granted_at = time.monotonic()
        await client.invalidate(REFS[:1])
        assert time.monotonic() >= granted_at + 0.4
        assert table.asked("owner", standing)[0] == 0  # and gets none until it distrusted
        assert table.forgo("owner")
        assert not client.trusted()
        await cluster.close()


async def test_a_member_that_missed_a_write_distrusts_before_it_trusts_again(cluster: PeerPair, tmp_path: Path) -> None:
    cluster.client.start()
    await cluster.held.any_renewed.wait()
    assert cluster.client.trusted()
    granting = cluster.tables[0]
    granting.missed("reader", began_at=0.0, gone=False)
    await cluster.client._keeper._renew(cluster.members.current().nodes[0])
    assert cluster.distrusted == 2


async def test_any_live_worker_of_a_node_will_do(tmp_path: Path) -> None:
    cluster = PeerPair(tmp_path)
    async with raw_server(nothing) as port:
        workers = 2
        while not await served(
            cluster, port + workers - 1
        ):  # somebody has that port: then one that refuses lies between
            workers += 1
        client = cluster.connect(cluster.members_with(port, workers=workers), lease_s=2.0)
        await client.invalidate(REFS[:3])
        assert cluster.host.invalidated == REFS[:3]
        await cluster.close()


async def test_a_lease_ends_on_the_clock_of_its_holder(tmp_path: Path) -> None:
    cluster = PeerPair(tmp_path)
    cluster.clock = clock = FakeClock()
    client = cluster.connect(cluster.members_with(await cluster.serve()), lease_s=5.0)
    await client._keeper._renew(cluster.members.current().nodes[0])
    clock.now += 4.9
    assert client.trusted()
    clock.now += 0.1
    assert not client.trusted()
    await cluster.close()


async def test_a_draining_member_grants_nothing(cluster: PeerPair) -> None:
    cluster.host.lease_s = 0.0
    await cluster.client._keeper._renew(cluster.members.current().nodes[0])
    assert not cluster.client.trusted()
