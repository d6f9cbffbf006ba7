"""Answers as they arrive: whatever the cuts between segments, the same head, the same body, the same end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.faults import UpstreamBroken
from gateway.wires.answers import HEAD_BYTES_MAX, AnswerReader, HungUp
from gateway.wires.blocks import BLOCK_BYTES, Blocks

EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
BODIES = st.binary(max_size=300)
CUTS = st.lists(st.integers(1, 80), min_size=1, max_size=30)


def reader(*, to_head: bool = False, scratch: int = 64) -> AnswerReader:
    return AnswerReader(Blocks(scratch), to_head=to_head)


def sized(body: bytes, fields: bytes = b"") -> bytes:
    return b"HTTP/1.1 206 Partial\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), fields, body)


def chunked(body: bytes, sizes: list[int]) -> bytes:
    out, at = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0
    while at < len(body):
        size = sizes[at % len(sizes)]
        piece = body[at : at + size]
        out += b"%x\r\n%b\r\n" % (len(piece), piece)
        at += size
    return out + b"0\r\nX-Trailer: t\r\n\r\n"


def feed(answer: AnswerReader, data: bytes, cuts: list[int], *, eager: bool = True) -> bytes:
    """Let ``data`` arrive in segments of these sizes, in turn; the body that is taken meanwhile and at the end."""
    at, turn, body = 0, 0, b""
    while at < len(data):
        buffer = answer.buffer()
        count = min(len(buffer), cuts[turn % len(cuts)], len(data) - at)
        buffer[:count] = data[at : at + count]
        answer.received(count)
        at, turn = at + count, turn + 1
        while eager and (piece := answer.take(partial=True)) is not None:
            body += piece
    while (piece := answer.take(partial=True)) is not None:
        body += piece
    return body


@given(BODIES, CUTS, st.booleans(), st.booleans())
def test_a_sized_body_comes_whole_however_it_is_cut(body: bytes, cuts: list[int], early: bool, eager: bool) -> None:
    answer = reader()
    taken = feed(answer, (EARLY if early else b"") + sized(body, b'ETag:  "e" \r\n'), cuts, eager=eager)
    assert taken == body
    assert answer.head is not None
    assert (answer.head.status, answer.head.length, answer.head.framed, answer.head.bodyless) == (
        206,
        len(body),
        True,
        False,
    )
    assert ("etag", '"e"') in answer.head.headers
    assert answer.ended
    assert answer.reusable
    assert answer.closed() is None


@given(BODIES, CUTS, st.lists(st.integers(1, 90), min_size=1, max_size=5))
def test_a_chunked_body_comes_whole_however_it_is_cut(body: bytes, cuts: list[int], sizes: list[int]) -> None:
    answer = reader()
    assert feed(answer, chunked(body, sizes), cuts) == body
    assert answer.head is not None
    assert (answer.head.length, answer.head.framed) == (None, True)
    assert "x-trailer" not in dict(answer.head.headers)
    assert answer.reusable


@given(BODIES.filter(bool), CUTS, st.booleans(), st.data())
def test_what_is_cut_is_never_whole(body: bytes, cuts: list[int], in_chunks: bool, data: st.DataObject) -> None:
    whole = chunked(body, [7]) if in_chunks else sized(body)
    cut = data.draw(st.integers(0, len(whole) - 1))
    answer = reader()
    feed(answer, whole[:cut], cuts)
    assert not answer.reusable
    assert isinstance(answer.closed(), UpstreamBroken | HungUp)


@given(BODIES, CUTS, st.sampled_from([b"x", b"HTTP/1.1 200 OK\r\n", sized(b"XXXX")]))
def test_what_comes_after_the_end_spoils_the_connection_and_nothing_else(
    body: bytes, cuts: list[int], extra: bytes
) -> None:
    answer = reader()
    assert feed(answer, sized(body) + extra, cuts) == body
    assert not answer.reusable


def test_a_body_is_handed_out_in_blocks_that_lie_at_multiples() -> None:
    body = bytes(range(256)) * (3 * BLOCK_BYTES // 256)
    answer = reader(scratch=4096)
    whole, at, pieces = sized(body), 0, []
    while at < len(whole):
        buffer = answer.buffer()
        count = min(len(buffer), 100_000, len(whole) - at)
        buffer[:count] = whole[at : at + count]
        answer.received(count)
        at += count
        while (piece := answer.take(partial=False)) is not None:
            pieces.append(bytes(piece))
    assert b"".join(pieces) == body
    ends = [sum(map(len, pieces[: n + 1])) for n in range(len(pieces))]
    assert ends[1:] == [BLOCK_BYTES, 2 * BLOCK_BYTES, 3 * BLOCK_BYTES]  # the first came with the head


def test_it_is_full_with_a_block_and_no_longer_once_that_is_taken() -> None:
    answer = reader()
    feed_only(answer, sized(bytes(3 * BLOCK_BYTES)), BLOCK_BYTES + 10_000)
    assert answer.full
    while answer.full:
        assert answer.take(partial=False)
    assert answer.has(partial=True)


def feed_only(answer: AnswerReader, data: bytes, count: int) -> None:
    at = 0
    while at < count:
        buffer = answer.buffer()
        size = min(len(buffer), count - at)
        buffer[:size] = data[at : at + size]
        answer.received(size)
        at += size


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_some_answers_have_no_body(status: bytes) -> None:
    answer = reader()
    assert feed(answer, b"HTTP/1.1 " + status + b"\r\n\r\n", [64]) == b""
    assert answer.reusable


def test_the_answer_to_a_head_announces_what_does_not_come() -> None:
    answer = reader(to_head=True)
    feed(answer, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", [64])
    assert answer.head is not None
    assert (answer.head.length, answer.head.bodyless, answer.reusable) == (1000, True, True)


@pytest.mark.parametrize("fields", [b"Connection: close\r\n", b""])
def test_upstream_says_whether_it_keeps_the_connection(fields: bytes) -> None:
    answer = reader()
    feed(answer, sized(b"body", fields), [64])
    assert (answer.ended, answer.reusable) == (True, not fields)


def test_a_body_that_ends_with_the_connection_is_not_framed() -> None:
    answer = reader()
    assert feed(answer, b"HTTP/1.1 200 OK\r\n\r\nabc", [64]) == b"abc"
    assert answer.head is not None
    assert not answer.head.framed
    assert answer.closed() is not None


def test_a_body_that_came_with_the_end_of_its_head_does_not_count_as_head() -> None:
    answer = reader(scratch=HEAD_BYTES_MAX)
    assert len(feed(answer, EARLY + sized(bytes(2 * HEAD_BYTES_MAX)), [len(EARLY) + 10, HEAD_BYTES_MAX])) == (
        2 * HEAD_BYTES_MAX
    )


@pytest.mark.parametrize(
    "wrong",
    [
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 1\r\n\r\nx",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_BYTES_MAX,
    ],
)
def test_what_is_no_answer_is_refused(wrong: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        feed(reader(), wrong, [64])
