"""A stream gives an object's bytes in order, however they are asked for, with a bounded number of parts in flight."""

from __future__ import annotations

import io
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.stream import ObjectStream


class Parts:
    """An object in parts; fetches complete at once, and are remembered."""

    def __init__(self, body: bytes, part_bytes: int, fail_at: int = -1) -> None:
        self.body, self.part_bytes, self.fail_at = body, part_bytes, fail_at
        self.asked: list[int] = []

    def fetch(self, start: int) -> Future[bytes]:
        self.asked.append(start)
        future: Future[bytes] = Future()
        if start == self.fail_at:
            future.set_exception(OSError("lost"))
        else:
            future.set_result(self.body[start : start + self.part_bytes])
        return future

    def open(self, parts_ahead: int = 2) -> ObjectStream:
        return ObjectStream(self.body[: self.part_bytes], len(self.body), self.fetch, parts_ahead=parts_ahead)


@given(st.binary(max_size=200), st.integers(1, 40), st.integers(0, 4), st.lists(st.integers(0, 60)))
def test_any_reads_give_the_bytes_in_order(body: bytes, part_bytes: int, ahead: int, sizes: list[int]) -> None:
    with Parts(body, part_bytes).open(ahead) as stream:
        pieces = [stream.read(size) for size in sizes]
        position = min(sum(sizes), len(body))
        assert stream.tell() == position
        assert b"".join(pieces) == body[:position]
        assert all(len(piece) == size for piece, size in zip(pieces, sizes, strict=True)) or position == len(body)
        assert stream.read() == body[position:]
        assert stream.read(1) == b""


def test_parts_are_fetched_ahead_and_not_further() -> None:
    parts = Parts(bytes(100), 10)
    stream = parts.open(3)
    assert parts.asked == [10, 20, 30]
    stream.read(11)
    assert parts.asked == [10, 20, 30, 40]
    stream.close()


def test_it_steps_back_by_a_part_and_no_further() -> None:
    body = bytes(range(100))
    stream = Parts(body, 10).open()
    assert stream.read(25) == body[:25]
    assert stream.seek(-14, io.SEEK_CUR) == 11
    assert stream.read(14) == body[11:25]
    stream.seek(9)
    with pytest.raises(io.UnsupportedOperation, match="byte 9"):
        stream.read(1)
    assert stream.seek(-3, io.SEEK_END) == 97
    assert stream.readall() == body[97:]
    stream.seek(200)
    assert stream.read(1) == b""


def test_it_fills_buffers_up_to_a_parts_end() -> None:
    stream = Parts(b"abcdef", 4).open()
    buffer = bytearray(6)
    assert stream.readinto(buffer) == 4
    assert buffer == b"abcd\0\0"
    assert stream.readable()
    assert stream.seekable()
    assert io.BufferedReader(stream).read() == b"ef"


def test_a_part_that_fails_fails_the_read_again_and_again() -> None:
    stream = Parts(bytes(30), 10, fail_at=10).open()
    assert stream.read(10) == bytes(10)
    for _ in range(2):
        with pytest.raises(OSError, match="lost"):
            stream.read(1)


def test_closing_cancels_what_is_in_flight() -> None:
    waiting: list[Future[bytes]] = []

    def fetch(_: int) -> Future[bytes]:
        waiting.append(Future())
        return waiting[-1]

    stream = ObjectStream(b"1234", 12, fetch)
    stream.close()
    assert [future.cancelled() for future in waiting] == [True, True]
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)
