"""Files by sendfile onto a transport, on both event loops: order, fullness, ends that leave, files that end."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from cache.faults import DiskFailed
from cache.sending import FileSender

BODY = os.urandom(6 * 1024 * 1024 + 17)


class Ends:
    """A transport on one side, a bare socket on the other."""

    def __init__(self, transport: asyncio.Transport, far: socket.socket, *, stall_s: float) -> None:
        self.transport, self.far = transport, far
        self.sender = FileSender(transport, stall_s=stall_s)

    async def read(self, count: int) -> bytes:
        got = bytearray()
        while len(got) < count and (data := await asyncio.get_running_loop().sock_recv(self.far, 1 << 20)):
            got += data
        return bytes(got)


@asynccontextmanager
async def ends(*, stall_s: float = 60.0) -> AsyncIterator[Ends]:
    near, far = socket.socketpair()
    far.setblocking(False)
    near.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
    pair = Ends(transport, far, stall_s=stall_s)
    try:
        yield pair
    finally:
        pair.sender.close()
        pair.sender.close()
        transport.abort()
        far.close()
        await asyncio.sleep(0)


@pytest.fixture
def fd(tmp_path: Path) -> int:
    path = tmp_path / "file"
    path.write_bytes(BODY)
    return os.open(path, os.O_RDONLY)


async def whole_and_in_order(fd: int) -> None:
    async with ends() as pair:
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(pair.read(len(BODY) + 10))
            await pair.sender.send(fd, 5, len(BODY) - 5, head=b"head:")
            await pair.sender.send(fd, 0, 10)
        assert reading.result() == b"head:" + BODY[5:] + BODY[:10]


async def a_file_that_ends_early(fd: int) -> None:
    async with ends() as pair:
        with pytest.raises(DiskFailed, match="ends"):
            await pair.sender.send(fd, len(BODY) - 3, 4)


async def a_far_end_that_left(fd: int) -> None:
    async with ends() as pair:
        sending = asyncio.create_task(pair.sender.send(fd, 0, len(BODY)))
        assert await pair.read(1)
        pair.far.close()
        with pytest.raises(ConnectionError):
            await sending


async def a_far_end_that_takes_nothing(fd: int) -> None:
    async with ends(stall_s=0.05) as pair:
        with pytest.raises(TimeoutError):
            await pair.sender.send(fd, 0, len(BODY))


async def closed_while_waiting(fd: int) -> None:
    async with ends() as pair:
        sending = asyncio.create_task(pair.sender.send(fd, 0, len(BODY)))
        await asyncio.sleep(0)
        pair.sender.close()
        with pytest.raises(ConnectionError):
            await sending


async def cancelled_while_waiting(fd: int) -> None:
    async with ends() as pair:
        sending = asyncio.create_task(pair.sender.send(fd, 0, len(BODY)))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending


async def bytes_left_in_the_transport(fd: int) -> None:
    async with ends() as pair:
        pair.transport.write(BODY)
        with pytest.raises(RuntimeError, match="of its own"):
            await pair.sender.send(fd, 0, 1)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "scenario",
    [
        whole_and_in_order,
        a_file_that_ends_early,
        a_far_end_that_left,
        a_far_end_that_takes_nothing,
        closed_while_waiting,
        cancelled_while_waiting,
        bytes_left_in_the_transport,
    ],
)
def test_sending(fd: int, scenario: Callable[[int], Awaitable[None]], run: Callable[[Awaitable[None]], None]) -> None:
    try:
        run(scenario(fd))
    finally:
        os.close(fd)
