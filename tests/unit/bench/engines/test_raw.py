from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.engines.ports import Session
from bench.engines.raw import BUFFER_BYTES, open_engine
from bench.operations import List, Operation, OperationFailed, Probe, Read, ReadBatch, Remove, Write
from bench.plan import Door, LoadPlan, Shape
from cache.versions import ByteSpan
from tests.doubles.scripted_server import HANG_UP, ScriptedServer


def answer(status: str, body: bytes = b"", *, length: int | None = None, more: str = "") -> bytes:
    count = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {count}\r\n{more}\r\n".encode() + body


@contextmanager
def session_with(server: ScriptedServer, *, discard: bool = False, timeout_s: float = 5.0) -> Iterator[Session]:
    door = Door((server.endpoint,), "b", "AK", "SK")
    session = open_engine(LoadPlan(door, Shape(discard=discard), timeout_s=timeout_s)).session(0)
    try:
        yield session
    finally:
        session.close()


@pytest.mark.parametrize("discard", [False, True])
@pytest.mark.parametrize("size", [0, 5, BUFFER_BYTES - 1, 3 * BUFFER_BYTES + 7])
def test_a_whole_body_counts(size: int, *, discard: bool) -> None:
    scripts = [[answer("200 OK", bytes(size)), answer("200 OK", bytes(size))]]
    with ScriptedServer(scripts) as server, session_with(server, discard=discard) as session:
        assert [session.perform(Read("k", size)) for _ in range(2)] == [size, size]
        assert session.first_byte_s > 0
        assert len(server.requests) == 1  # one connection for both


LISTING = b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("operation", "said", "count"),
    [
        (Read("k", 3, ByteSpan(2, 5)), answer("206 Partial Content", b"abc"), 3),
        (Read("k", 3, ByteSpan(2, 5)), answer("200 OK", b"abc"), 3),
        (Probe("k", 9), answer("200 OK", length=9), 0),
        (Write("k", b"hello"), answer("200 OK"), 0),
        (Remove("k"), b"HTTP/1.1 204 No Content\r\n\r\n", 0),
        (List("p/"), answer("200 OK", LISTING), len(LISTING)),
        (List("p/"), CHUNKED + b"%x\r\n" % len(LISTING) + LISTING + b"\r\n0\r\n\r\n", len(LISTING)),
    ],
)
def test_operations_that_go_well(operation: Operation, said: bytes, count: int) -> None:
    with ScriptedServer([[said]]) as server, session_with(server) as session:
        assert session.perform(operation) == count


NOT_FOUND = answer("404 Not Found", b"<Error><Code>NoSuchKey</Code></Error>")


@pytest.mark.parametrize(
    ("operation", "script", "code"),
    [
        (Read("k", 5), [NOT_FOUND], "NoSuchKey"),
        (Read("k", 5), [answer("503 Slow Down", b"busy")], "HTTP 503"),
        (Read("k", 5), [answer("503 Slow Down", length=10**9)], "HTTP 503"),
        (Probe("k", 5), [answer("404 Not Found")], "HTTP 404"),
        (Probe("k", 5), [answer("200 OK", length=6)], "WrongLength"),
        (Read("k", 5), [answer("200 OK", b"four")], "WrongLength"),
        (Read("k", 5), [answer("200 OK", b"sixsix")], "WrongLength"),
        (Read("k", 5), [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"], "WrongLength"),
        (Write("k", b"x"), [b"HTTP/1.1 200 OK\r\n\r\n"], "NoLength"),
        (List("p/"), [answer("200 OK", b"<ListBucketResult>")], "BadListing"),
        (List("p/"), [CHUNKED + b"5\r\nshort\r\n0\r\n\r\n"], "BadListing"),
        (List("p/"), [CHUNKED + b"no size\r\n"], "BadResponse"),
        (List("p/"), [b"HTTP/1.1 200 OK\r\n\r\n"], "NoLength"),
        (List("p/"), [NOT_FOUND], "NoSuchKey"),
        (ReadBatch(()), [], "NotSupported"),
        (Read("k", 5), [answer("200 OK", b"helloAND MORE", length=5)], "LongBody"),
        (Read("k", 5), [answer("200 OK", b"hell", length=5)], "ShortBody"),
        (Read("k", 5), [], "Disconnected|ConnectionResetError|BrokenPipeError"),
        (Read("k", 5), [b"220 ready\r\n\r\n"], "BadResponse"),
        (Read("k", 5), [answer("301 Moved Permanently")], "HTTP 301"),
    ],
)
def test_whatever_is_not_what_was_asked_for_is_an_error_and_the_next_operation_works(
    operation: Operation, script: list[bytes], code: str
) -> None:
    good = [answer("200 OK", b"hello")]
    scripts = [good] if isinstance(operation, ReadBatch) else [[*script, HANG_UP], good]
    with ScriptedServer(scripts) as server, session_with(server) as session:
        with pytest.raises(OperationFailed) as failed:
            session.perform(operation)
        assert failed.value.code in code.split("|")
        session.close()
        assert session.perform(Read("k", 5)) == 5


def test_an_error_with_a_body_keeps_the_connection() -> None:
    with ScriptedServer([[NOT_FOUND, answer("200 OK", b"hello")]]) as server, session_with(server) as session:
        with pytest.raises(OperationFailed, match="NoSuchKey"):
            session.perform(Read("k", 5))
        assert session.perform(Read("k", 5)) == 5


def test_connection_close_is_obeyed() -> None:
    closing = answer("200 OK", b"hello", more="Connection: close\r\n")
    with ScriptedServer([[closing], [closing]]) as server, session_with(server) as session:
        assert [session.perform(Read("k", 5)) for _ in range(2)] == [5, 5]
        assert len(server.requests) == 2


def test_a_silent_server_is_a_timeout() -> None:
    script = [answer("200 OK", b"he", length=5)]
    with (
        ScriptedServer([script]) as server,
        session_with(server, timeout_s=0.1) as session,
        pytest.raises(OperationFailed, match="Timeout"),
    ):
        session.perform(Read("k", 5))


def test_nobody_there() -> None:
    with ScriptedServer([]) as server:
        endpoint = server.endpoint
    session = open_engine(LoadPlan(Door((endpoint,), "b"), Shape())).session(0)
    with pytest.raises(OperationFailed, match="ConnectionRefusedError"):
        session.perform(Read("k", 5))


def test_a_split_session_never_waits_and_takes_an_answer_in_pieces() -> None:
    said = answer("200 OK", b"x" * 1000)
    with socket.create_server(("127.0.0.1", 0)) as listener, select.epoll() as poller:
        door = Door((f"http://127.0.0.1:{listener.getsockname()[1]}",), "b")
        split = open_engine(LoadPlan(door, Shape())).split
        assert split is not None
        session = split(0)
        assert session.fileno() == -1
        session.start(Read("k", 1000))
        link, _ = listener.accept()
        poller.register(session.fileno(), select.EPOLLIN)
        counts = [session.advance()]  # nothing there yet: no wait
        for piece in (said[:10], said[10:100], said[100:]):
            link.sendall(piece)
            assert poller.poll(10)
            counts.append(session.advance())
        assert counts == [None, None, None, 1000]
        link.close()
        session.close()


def test_endpoints_are_taken_in_turn() -> None:
    said = answer("200 OK", b"hello")
    with ScriptedServer([[said]]) as one, ScriptedServer([[said]]) as other:
        engine = open_engine(LoadPlan(Door((one.endpoint, other.endpoint), "b"), Shape()))
        for index in range(2):
            session = engine.session(index)
            assert session.perform(Read("k", 5)) == 5
            session.close()
        assert (len(one.requests), len(other.requests)) == (1, 1)
