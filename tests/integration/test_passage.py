"""Bytes of another node's that go on without being copied: through a passage, and by relays, over real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.chunks import UNIT_BYTES
from cache.faults import PeerLied, PeerUnreachable
from cache.peers.passage import PIPE_BYTES, Pipe, PipePassage
from cache.ports import Passage, Relayed
from cache.tally import Count
from cache.versions import ByteSpan
from tests.doubles.peer_pair import BODY, CHUNK, OWNER, SPAN, GrowingChunk, PeerPair, relayed

DATA = os.urandom(3 * PIPE_BYTES + 17)


def joined() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    return near, far


class Ends:
    """Who sends, what it is passed from and to, and who receives. Both sockets of the passage's never wait."""

    def __init__(self, stack: ExitStack) -> None:
        self.source, self.origin = joined()
        self.target, self.client = joined()
        for end in (self.source, self.origin, self.target, self.client):
            stack.callback(end.close)
        self.source.settimeout(0)
        self.target.settimeout(0)
        self.pipe = Pipe()
        stack.callback(self.pipe.close)
        self.passage = PipePassage(self.pipe)

    def come(self, data: bytes) -> None:
        """The next bytes lie at the source, all of them."""
        self.source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(data))  # makes room for them
        self.origin.sendall(data)
        seen = bytearray(len(data))
        self.source.settimeout(10)
        while self.source.recv_into(seen, 0, socket.MSG_PEEK) < len(data):
            pass
        self.source.settimeout(0)
        self.passage.begin(self.source, memoryview(seen))

    def narrow(self) -> None:
        """The target takes little at once."""
        self.target.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)

    def taken(self, count: int) -> bytes:
        return self.client.recv(count, socket.MSG_WAITALL)


@pytest.fixture
def ends() -> Iterator[Ends]:
    with ExitStack() as stack:
        yield Ends(stack)


def test_all_of_it_arrives_in_order_however_slow_the_other_end_is(ends: Ends) -> None:
    """What it does not take at once is sent from memory."""
    ends.narrow()
    got, in_parts = bytearray(), 0
    for start in range(0, len(DATA), 400_000):
        part = DATA[start : start + 400_000]
        ends.come(part)
        moved = ends.passage.move(ends.target.fileno(), len(part))
        in_parts += 0 < moved < len(part)
        while moved < len(part):
            with suppress(BlockingIOError):
                moved += ends.target.send(part[moved:])
            got += ends.client.recv(100_000)
        ends.passage.drop()
        assert ends.passage.left == 0
    got += ends.taken(len(DATA) - len(got))
    assert got == DATA
    assert in_parts


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 40_000)), max_size=6))
def test_what_is_dropped_is_left_out_and_nothing_else(steps: list[tuple[bool, int]]) -> None:
    with ExitStack() as stack:
        ends, part = Ends(stack), DATA[:200_000]
        ends.come(part)
        position, expected = 0, bytearray()
        for moves, wanted in steps:
            count = min(wanted, len(part) - position)
            if not count:
                continue
            if moves:
                assert ends.passage.move(ends.target.fileno(), count) == count
                expected += part[position : position + count]
            else:
                ends.passage.drop(count)
            position += count
            assert ends.passage.left == len(part) - position
        ends.passage.drop()
        assert ends.passage.left == 0
        ends.come(b"next")
        assert ends.passage.move(ends.target.fileno(), 4) == 4
        assert ends.taken(len(expected) + 4) == expected + b"next"


def test_what_is_half_moved_can_still_be_dropped(ends: Ends) -> None:
    ends.narrow()
    ends.come(DATA[:600_000])
    moved = ends.passage.move(ends.target.fileno(), 600_000)
    assert 0 < moved < 600_000
    ends.passage.drop()
    got = ends.taken(moved)
    ends.come(b"next")
    assert ends.passage.move(ends.target.fileno(), 100) == 4
    assert got + ends.taken(4) == DATA[:moved] + b"next"


def test_without_a_pipe_nothing_moves_and_all_can_be_dropped(ends: Ends) -> None:
    ends.pipe.close()
    ends.come(DATA[:1000])
    assert ends.passage.move(ends.target.fileno(), 1000) == 0
    ends.passage.drop()
    assert ends.passage.left == 0


def test_from_a_source_that_was_closed_nothing_moves(ends: Ends) -> None:
    ends.come(DATA[:1000])
    ends.source.close()
    assert ends.passage.move(ends.target.fileno(), 1000) == 0
    with pytest.raises(PeerUnreachable):
        ends.passage.drop()


def test_a_target_that_is_gone_is_told_from_the_source(ends: Ends) -> None:
    ends.come(DATA[:1000])
    ends.target.shutdown(socket.SHUT_WR)
    with pytest.raises(OSError, match="pipe"):
        ends.passage.move(ends.target.fileno(), 1000)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[PeerPair]:
    cluster = PeerPair(tmp_path)
    cluster.connect(cluster.members_with(await cluster.serve()))
    cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    yield cluster
    await cluster.close()


async def moved_on(passage: Passage, count: int) -> bytes:
    """What comes out at the other end when so much is offered."""
    loop = asyncio.get_running_loop()
    target, client = joined()
    with target, client:
        target.settimeout(0)
        client.settimeout(0)
        got, moved = bytearray(), passage.move(target.fileno(), count)
        while len(got) < moved:
            got += await loop.sock_recv(client, 1 << 20)
    return bytes(got)


async def passed(units: Relayed, dice: Random) -> tuple[bytes, int]:
    """All that a relay brings, and how many bytes of that were moved on, the others having been used from memory."""
    body, moved = bytearray(), 0
    async for view in units:
        if units.passage is None or dice.random() < 0.3:
            body += view
            continue
        begun = await moved_on(units.passage, len(view))
        body += begun
        body += view[len(begun) :]
        moved += len(begun)
    return bytes(body), moved


async def test_relayed_bytes_are_moved_on_or_used_from_memory_just_as_well(cluster: PeerPair) -> None:
    dice, moved_in_all = Random(7), 0
    for turn in range(60):
        start = dice.choice([0, 5, UNIT_BYTES, UNIT_BYTES + 1, 3 * UNIT_BYTES - 1])
        stop = dice.choice([start + 1, 4 * UNIT_BYTES, 4 * UNIT_BYTES + 3, SPAN.stop])
        span = ByteSpan(start, stop)
        async with cluster.client.relay(OWNER, CHUNK, span) as units:
            body, moved = await passed(units, dice)
        assert body == BODY[span.start : span.stop], f"turn {turn}, {span}"
        moved_in_all += moved
        assert list(cluster.client.check()) == []
    assert moved_in_all
    assert cluster.tally.words[Count.PEER_BYTES_IN] == cluster.server_tally.words[Count.PEER_BYTES_OUT]


async def until_some_lies_ahead(units: Relayed) -> memoryview | None:
    """The first view of a relay's that may be moved on, if there is one."""
    async for view in units:
        if units.passage is not None:
            return view
    return None


async def test_a_reader_that_leaves_half_moved_bytes_spoils_nothing(cluster: PeerPair) -> None:
    target, client = joined()
    with target, client:
        target.settimeout(0)
        left = 0
        for _ in range(40):
            async with cluster.client.relay(OWNER, CHUNK, SPAN) as units:
                view = await until_some_lies_ahead(units)
                if view is not None and units.passage is not None:
                    left += units.passage.move(target.fileno(), len(view)) < len(view)
            assert list(cluster.client.check()) == []
            assert await relayed(cluster.client) == BODY
        assert left  # nobody reads at the other end: at last it takes no more


async def test_units_ahead_of_one_that_does_not_match_are_passed_on_and_it_is_not(
    cluster: PeerPair, tmp_path: Path
) -> None:
    chunk = cluster.host.reader = GrowingChunk(tmp_path / "damaged")
    os.pwrite(chunk.fd, bytes([BODY[3 * UNIT_BYTES + 7] ^ 1]), 3 * UNIT_BYTES + 7)
    ahead = 0
    for _ in range(20):
        body = bytearray()
        async with cluster.client.relay(OWNER, CHUNK, SPAN) as units:
            while len(body) < 3 * UNIT_BYTES:
                view = await anext(units)
                if units.passage is None:
                    body += view
                else:
                    ahead += 1
                    begun = await moved_on(units.passage, len(view))
                    body += begun
                    body += view[len(begun) :]
            with pytest.raises(PeerLied, match="unit 3"):
                await anext(units)
        assert body == BODY[: 3 * UNIT_BYTES]
        await cluster.client.close()
        cluster.connect(cluster.members)  # another breaker
    assert ahead


async def test_what_is_missing_of_nothing_is_no_fault(cluster: PeerPair) -> None:
    """The last unit is seen ahead, its end is not wanted; the link is cut before that can be dropped."""
    span, cut = ByteSpan(0, 4 * UNIT_BYTES - 5), 0
    for _ in range(40):
        async with cluster.client.relay(OWNER, CHUNK, span) as units:
            body, moves = bytearray(), False
            while len(body) < span.stop:
                body += await anext(units)
                moves = units.passage is not None
            cut += moves
            await cluster.client.close()
            assert [view async for view in units] == []
        assert body == BODY[: span.stop]
        cluster.connect(cluster.members)
    assert cut
