"""One connection against scripted answers: framing is exact, and every way of being cut is noticed."""

from __future__ import annotations

import socket

import pytest

from gateway.client.connection import HEAD_BYTES_MAX, Connection, ConnectionLost
from gateway.client.endpoint import Gateway
from tests.doubles.scripted_server import HANG_UP, ScriptedServer

ASK = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_one_exchange_after_the_other() -> None:
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        CHUNKED + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
    ]
    with ScriptedServer([answers]) as server:
        link = Connection(Gateway(server.endpoint))
        assert not link.reusable
        link.ask(ASK, bodiless=False)
        assert not link.reusable
        buffer = bytearray(5)
        link.receive_into(memoryview(buffer)[:2])
        link.receive_into(memoryview(buffer)[2:])
        assert (bytes(buffer), link.reusable) == (b"hello", True)
        assert link.ask(ASK, bodiless=True).length == 9
        for body in (b"", b"abcde"):
            assert link.reusable
            link.ask(ASK, bodiless=False)
            assert link.receive_all(5) == body
        link.ask(ASK, bodiless=False)
        assert link.receive_all(5) == b"x"
        assert not link.reusable
        link.close()


@pytest.mark.parametrize(
    ("script", "answered"),
    [
        ([HANG_UP], False),
        ([b"HTTP/1.1 2", HANG_UP], True),
        ([b"SMTP ready\r\n\r\n"], True),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"], True),
        ([b"HTTP/1.1 200 OK\r\nx: " + bytes(HEAD_BYTES_MAX + 100)], True),
    ],
)
def test_heads_that_are_none(script: list[bytes], answered: bool) -> None:
    with ScriptedServer([script]) as server:
        link = Connection(Gateway(server.endpoint))
        with pytest.raises(ConnectionLost) as caught:
            link.ask(ASK, bodiless=False)
        assert caught.value.answered is answered
        assert not link.reusable
        link.close()


@pytest.mark.parametrize(
    "script",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", HANG_UP],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"],
        [CHUNKED + b"5\r\nhel", HANG_UP],
        [CHUNKED + b"5\r\nhello\r\n", HANG_UP],
        [CHUNKED + b"5\r\nhello\r\n0\r\n", HANG_UP],
        [CHUNKED + b"z\r\n"],
        [CHUNKED + b"50\r\n"],
        [b"HTTP/1.1 200 OK\r\n\r\nhello, world and all the rest", HANG_UP],
    ],
)
def test_bodies_that_are_cut_or_too_long(script: list[bytes]) -> None:
    with ScriptedServer([script]) as server:
        link = Connection(Gateway(server.endpoint))
        link.ask(ASK, bodiless=False)
        with pytest.raises(ConnectionLost):
            link.receive_all(10)
        assert not link.reusable
        link.close()


def test_a_body_that_ends_with_the_connection() -> None:
    with ScriptedServer([[b"HTTP/1.0 500 Oops\r\n\r\nsorry", HANG_UP]]) as server:
        link = Connection(Gateway(server.endpoint))
        assert link.ask(ASK, bodiless=False).length is None
        with pytest.raises(ConnectionLost, match="the body has None"):
            link.receive_into(memoryview(bytearray(1)))
        assert link.receive_all(10) == b"sorry"
        assert not link.reusable
        link.close()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionLost, match="cannot connect") as caught:
        Connection(Gateway(f"http://127.0.0.1:{port}"))
    assert not caught.value.answered


def test_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        link = Connection(Gateway(f"http://127.0.0.1:{listener.getsockname()[1]}", read_timeout_s=0.05))
        with pytest.raises(ConnectionLost, match="cannot receive"):
            link.ask(ASK, bodiless=False)
        link.close()


def test_a_plain_server_cannot_speak_tls() -> None:
    with ScriptedServer([[b"HTTP/1.1 400 Bad\r\n\r\n", HANG_UP]]) as server:
        endpoint = server.endpoint.replace("http:", "https:")
        with pytest.raises(ConnectionLost, match="cannot connect"):
            Connection(Gateway(endpoint, connect_timeout_s=0.2))
