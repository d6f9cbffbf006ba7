"""Wires over real sockets: patient with who is slow for a reason, and cut when anything is odd."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import pytest

from cache.faults import UpstreamBroken, UpstreamUnreachable
from gateway.wires.addresses import Addresses
from gateway.wires.answers import BLOCK_BYTES, HungUp
from gateway.wires.pool import Wires
from gateway.wires.wire import Wire
from tests.doubles.authority import Authority

GET = b"GET /k HTTP/1.1\r\nhost: h\r\n\r\n"
PUT = b"PUT /k HTTP/1.1\r\nhost: h\r\n\r\n"
DONE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Each connection is what ``talk`` makes of it; ``connections`` counts them."""

    def __init__(self, place: SplitResult) -> None:
        self.place, self.connections = place, 0


@asynccontextmanager
async def serving(talk: Talk) -> AsyncIterator[Server]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        task = asyncio.current_task()
        assert task is not None
        talking.add(task)
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            talking.discard(task)
            writer.close()

    talking: set[asyncio.Task[None]] = set()
    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    server = Server(urlsplit(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"))
    try:
        yield server
    finally:
        listening.close()
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)


def wires(limit: int = 8) -> Wires:
    return Wires(limit=limit, connect_s=5.0)


async def ask(wire: Wire, head: bytes = GET, body: AsyncIterator[bytes] | None = None, **more: float) -> int:
    told = await wire.ask(head, body, chunked=body is not None, to_head=False, wait_s=more.get("wait_s", 5.0))
    return told.status


async def whole(wire: Wire) -> bytes:
    body = b""
    while piece := await wire.read():
        body += piece
    return body


async def answer_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(DONE)


# --- bodies that are sent


async def test_a_body_of_unknown_length_goes_in_chunks() -> None:
    seen: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(DONE)

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        yield b""
        yield b"second!"

    pool = wires()
    async with serving(talk) as server:
        wire = await pool.take(server.place, 1.0)
        assert await ask(wire, PUT, body()) == 200
        assert seen == [PUT + b"5\r\nfirst\r\n7\r\nsecond!\r\n0\r\n\r\n"]
        pool.close()


async def test_a_client_that_holds_its_body_back_is_not_upstreams_silence() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(DONE)

    gate = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await gate.wait()
        yield b"second"

    pool = wires()
    async with serving(talk) as server:
        wire = await pool.take(server.place, 1.0)
        asyncio.get_running_loop().call_later(0.4, gate.set)
        assert await ask(wire, PUT, body(), wait_s=0.1) == 200
        pool.close()


async def test_upstream_that_takes_nothing_is_silent() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async def body() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65536)

    pool = wires()
    async with serving(talk) as server:
        wire = await pool.take(server.place, 1.0)
        with pytest.raises(UpstreamUnreachable, match="silent"):
            await ask(wire, PUT, body(), wait_s=0.2)
        pool.give(server.place, wire)
        assert not wire.fit()
        pool.close()


async def test_a_refusal_in_the_middle_of_a_body_is_heard_and_ends_the_wire() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"first")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await reader.read()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    pool = wires()
    async with serving(talk) as server:
        wire = await pool.take(server.place, 1.0)
        assert (await ask(wire, PUT, body()), await whole(wire)) == (403, b"no")
        pool.give(server.place, wire)
        assert (await pool.take(server.place, 1.0)) is not wire
        pool.close()


async def test_a_body_that_fails_is_cut_for_upstream_too() -> None:
    ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        try:
            ended.set_result(await reader.read())
        except ConnectionError:
            ended.set_result(b"")

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        raise ConnectionError("gone")

    pool = wires()
    async with serving(talk) as server:
        wire = await pool.take(server.place, 1.0)
        with pytest.raises(UpstreamBroken):
            await ask(wire, PUT, body())
        assert not (await ended).endswith(b"0\r\n\r\n")
        pool.close()


# --- bodies that are received


async def test_a_part_of_a_block_is_handed_out_when_nothing_follows_it() -> None:
    size = BLOCK_BYTES + 10
    go_on = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (size + 5) + bytes(size))
        await go_on.wait()
        writer.write(b"ended")

    pool = wires()
    async with serving(talk) as server:
        wire = await pool.take(server.place, 1.0)
        assert await ask(wire) == 200
        body = b""
        while len(body) < size:
            body += await wire.read()
        go_on.set()
        assert await whole(wire) == b"ended"
        assert not await wire.read()
        pool.close()


@pytest.mark.parametrize("sent", [b"", DONE[:20], DONE[:-1]])
async def test_silence_has_an_end(sent: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        await asyncio.Event().wait()

    pool = wires()
    async with serving(talk) as server:
        wire = await pool.take(server.place, 1.0)
        with pytest.raises(UpstreamUnreachable, match="silent"):
            assert await ask(wire, wait_s=0.1) == await whole(wire)
        pool.close()


async def test_nothing_is_asked_on_a_wire_that_was_cut() -> None:
    pool = wires()
    async with serving(answer_each) as server:
        wire = await pool.take(server.place, 1.0)
        wire.release(keep=False)
        with pytest.raises(HungUp):
            await ask(wire)
        pool.close()


# --- what upstream closes, and where it is


@asynccontextmanager
async def answering_once(tls: ssl.SSLContext, answer: bytes, *, told: bool) -> AsyncIterator[SplitResult]:
    """Over TLS each connection gets one answer, and then its end; ``told``: by TLS too, else by a FIN alone."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                link, _ = listening.accept()
                with link, tls.wrap_socket(link, server_side=True) as secure, suppress(OSError):
                    secure.recv(65536)
                    secure.sendall(answer)
                    secure.unwrap() if told else secure.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield urlsplit(f"https://127.0.0.1:{listening.getsockname()[1]}")
        listening.shutdown(socket.SHUT_RDWR)
    await asyncio.to_thread(thread.join)


@pytest.mark.parametrize("size", [1000, 300_000, 2_000_000, 8_000_000])
@pytest.mark.parametrize("slow", [True, False])
@pytest.mark.parametrize("told", [True, False])
async def test_over_tls_too_an_answer_is_whole_when_the_connection_ends_with_it(
    tmp_path: Path, size: int, *, slow: bool, told: bool
) -> None:
    authority = Authority(tmp_path)
    pool = Wires(limit=8, connect_s=5.0, tls=ssl.create_default_context(cafile=authority.file))
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
    async with answering_once(authority.server(), answer, told=told) as place:
        for _ in range(3):
            wire = await pool.take(place, 1.0)
            assert await ask(wire) == 200
            got = 0
            while piece := await wire.read():
                got += len(piece)
                if slow:
                    for _ in range(30):  # a consumer that is slower than upstream
                        await asyncio.sleep(0)
            assert got == size
            pool.give(place, wire)
        pool.close()


async def test_an_early_answer_to_a_body_that_fails_ends_the_wire() -> None:
    answered = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"first")
        writer.write(DONE)
        await reader.read()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await answered.wait()
        raise ConnectionError("gone")

    pool = wires()
    async with serving(talk) as server:
        wire = await pool.take(server.place, 1.0)
        assert (await ask(wire, PUT, body()), await whole(wire)) == (200, b"done")
        answered.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        pool.give(server.place, wire)
        assert (await pool.take(server.place, 1.0)) is not wire
        pool.close()


async def test_an_address_where_nobody_is_costs_no_connection() -> None:
    async with serving(answer_each) as gone:
        dead = gone.place.port
    async with serving(answer_each) as server:

        async def resolve(host: str, port: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
            assert (host, port) == ("s3.test", 80)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", at)) for at in (dead, server.place.port)]

        pool = Wires(limit=8, connect_s=5.0, addresses=Addresses(resolve))
        for _ in range(4):
            wire = await pool.take(urlsplit("http://s3.test"), 1.0)
            assert (await ask(wire), await whole(wire)) == (200, b"done")
            wire.release(keep=False)
        pool.close()
