"""Calls: what is tried again, how often, and what becomes of the connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.client.connection import Connection, ConnectionLost
from gateway.client.endpoint import Gateway
from gateway.client.errors import AccessDenied, GatewayError, GatewayUnreachable
from gateway.client.pool import ConnectionPool
from gateway.client.responses import Head, Request
from tests.doubles.scripted_server import HANG_UP, ScriptedServer

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"
SLOW_DOWN = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n"
DENIED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
REQUEST = Request("GET", "b", "k")


def body(link: Connection, _: Head) -> bytes:
    return link.receive_all(100)


@contextmanager
def pool_over(
    *scripts: list[bytes], connections: int = 2, attempts: int = 3
) -> Iterator[tuple[ConnectionPool, ScriptedServer]]:
    with ScriptedServer(scripts) as server:
        pool = ConnectionPool(Gateway(server.endpoint, connections=connections, attempts=attempts))
        try:
            yield pool, server
        finally:
            pool.close()


def test_a_connection_serves_one_call_after_the_other() -> None:
    with pool_over([GOOD, DENIED, GOOD]) as (pool, server):
        assert pool.call(REQUEST, body) == b"ok"
        with pytest.raises(AccessDenied):
            pool.call(REQUEST, body)
        assert pool.call(REQUEST, body) == b"ok"
        assert [len(requests) for requests in server.requests] == [3]


@pytest.mark.parametrize("script", [[CUT, HANG_UP], [HANG_UP], [SLOW_DOWN], [b"nonsense\r\n\r\n"]])
def test_what_may_pass_is_tried_again(script: list[bytes]) -> None:
    again = [*script[:1], GOOD] if script == [SLOW_DOWN] else script
    with pool_over(again, [GOOD]) as (pool, _):
        assert pool.call(REQUEST, body) == b"ok"


def test_attempts_are_bounded() -> None:
    with pool_over([CUT, HANG_UP], [CUT, HANG_UP], [CUT, HANG_UP], [GOOD]) as (pool, server):
        with pytest.raises(GatewayUnreachable, match=r"GET b/k: body ended 1 bytes early \(attempt 3\)"):
            pool.call(REQUEST, body)
        assert len(server.requests) == 3
    with pool_over([SLOW_DOWN] * 3) as (pool, _), pytest.raises(GatewayError) as caught:
        pool.call(REQUEST, body)
    assert caught.value.status == 503


def test_an_idle_connection_that_died_costs_no_attempt() -> None:
    with pool_over([GOOD, HANG_UP], [GOOD], attempts=1) as (pool, server):
        assert pool.call(REQUEST, body) == b"ok"
        server.closed(0)
        assert pool.call(REQUEST, body) == b"ok"


def test_a_head_has_no_error_document() -> None:
    with pool_over([b"HTTP/1.1 403 Forbidden\r\nContent-Length: 50\r\n\r\n", GOOD]) as (pool, server):
        with pytest.raises(AccessDenied):
            pool.call(Request("HEAD", "b", "k"), body)
        assert pool.call(REQUEST, body) == b"ok"
        assert len(server.requests) == 1


def test_a_receiver_that_fails_gives_its_connection_back_closed() -> None:
    def failing(_: Connection, __: Head) -> bytes:
        raise KeyError("mine")

    with pool_over([GOOD], [GOOD], connections=1) as (pool, _):
        with pytest.raises(KeyError):
            pool.call(REQUEST, failing)
        assert pool.call(REQUEST, body) == b"ok"


def test_a_place_is_given_back_when_connecting_fails() -> None:
    with ScriptedServer([]) as server:
        endpoint = server.endpoint
    pool = ConnectionPool(Gateway(endpoint, connections=1, attempts=1))
    for _ in range(3):
        with pytest.raises(ConnectionLost):
            pool.take()


def test_threads_share_the_bounded_connections() -> None:
    with pool_over([GOOD] * 40, [GOOD] * 40) as (pool, server):
        bodies: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: bodies.extend(pool.call(REQUEST, body) for _ in range(5))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert bodies == [b"ok"] * 40
        assert len(server.requests) <= 2


def test_forgetting_closes_all_and_begins_afresh() -> None:
    with pool_over([GOOD], [GOOD], [GOOD]) as (pool, _):
        taken = pool.take()
        assert pool.call(REQUEST, body) == b"ok"
        pool.forget()
        assert not taken.reusable
        assert pool.call(REQUEST, body) == b"ok"
