"""A thread's turns at a socket: what has arrived, once and in order, in blocks that lie at multiples."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wires.blocks import BLOCK_BYTES
from gateway.wires.tap import TURN_BYTES, Tap


class Ends:
    """Both ends of a connection; what a tap on one of them has handed on."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        for end in (self.near, self.far):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * TURN_BYTES)
        self.near.setblocking(False)
        self.tap = Tap(self.near.fileno())
        self.pieces: list[bytes] = []

    def turn(self, position: int, left: int, *, lingered: bool = False) -> int:
        return self.tap.turn(lambda data: self.pieces.append(bytes(data)), position, left, lingered=lingered)

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    both = Ends()
    yield both
    both.close()


@given(st.lists(st.integers(0, 3 * BLOCK_BYTES // 2), min_size=1, max_size=6), st.integers(0, BLOCK_BYTES), st.data())
def test_every_byte_once_and_in_order(arrivals: list[int], start: int, data: st.DataObject) -> None:
    both, sent, taken = Ends(), b"", 0
    whole = os.urandom(sum(arrivals))
    try:
        for count in arrivals:
            both.far.sendall(whole[len(sent) : len(sent) + count])
            sent += whole[len(sent) : len(sent) + count]
            if taken < len(whole):
                taken += both.turn(start + taken, len(whole) - taken, lingered=data.draw(st.booleans()))
        while taken < len(whole):
            taken += both.turn(start + taken, len(whole) - taken)
        assert b"".join(both.pieces) == whole
        assert both.tap.waiting() == 0
    finally:
        both.close()


def test_a_turn_ends_where_a_block_does_unless_the_rest_lingers(ends: Ends) -> None:
    ends.far.sendall(bytes(BLOCK_BYTES + 100))
    assert ends.turn(10, 4 * BLOCK_BYTES) == BLOCK_BYTES - 10
    assert ends.tap.waiting() == 110
    assert ends.turn(BLOCK_BYTES, 3 * BLOCK_BYTES, lingered=True) == 110


def test_a_turn_takes_no_more_than_it_may_and_no_more_than_is_left(ends: Ends) -> None:
    ends.far.sendall(bytes(2 * TURN_BYTES))
    assert ends.turn(0, 2 * TURN_BYTES) == TURN_BYTES
    assert ends.turn(TURN_BYTES, 100) == 100


def test_nothing_is_there_or_nothing_will_be(ends: Ends) -> None:
    assert ends.turn(0, 100) == 0
    ends.far.sendall(b"abc")
    ends.far.close()
    assert ends.turn(0, 100) == 3
    assert ends.turn(3, 97) == -1
    assert ends.pieces == [b"abc"]


def test_the_socket_outlives_its_owner_as_long_as_a_tap_is_held(ends: Ends) -> None:
    ends.far.sendall(b"abc")
    ends.near.close()
    assert ends.turn(0, 3) == 3
