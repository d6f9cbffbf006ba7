"""Frames: however bytes are cut, the same messages; whatever the bytes, no error but BadFrame."""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.chunks import UNIT_BYTES
from cache.peers.frames import (
    ANSWER_BYTES_MAX,
    ANSWERS,
    HANDSHAKE_BYTES_MAX,
    HELLOS,
    LENGTH_BYTES,
    MAC_BYTES,
    REQUESTS,
    AskChunk,
    AskLease,
    AskStatus,
    BadFrame,
    ClientHello,
    Failed,
    Filling,
    Found,
    FrameReader,
    FrameWriter,
    Invalidate,
    Lease,
    LookUp,
    Message,
    Obeyed,
    Progress,
    Sealed,
    ServerHello,
    ServerProof,
    Status,
    Units,
    Waiting,
    make_window,
)

KEY = b"k" * 32
REQUEST_SAMPLES = [
    AskChunk("http://up", "b", "k/ä", '"e"', 10, "", 8, 1, 0, 2, same_node=True),
    Invalidate([("b", "k", ""), ("b", "x" * 5000, "v")]),
    AskLease(2**64 - 1),
    AskStatus(),
    LookUp("b", "k/ä", "", checksums=True, age_max_s=float("inf")),
]
ANSWER_SAMPLES = [
    Waiting(),
    Units(0, 5000, (1,)),
    Units(1, UNIT_BYTES, (2**64 - 1,)),
    Units(2, 1, (0,)),
    Units(3, 2 * UNIT_BYTES + 1, (1, 2, 3)),
    Failed("UpstreamRefused", "x", 404, (("a", "b"),), b"<E/>"),
    Filling("/x/y"),
    Sealed(),
    Progress(300, (1, 2)),
    Obeyed(),
    Lease(5.0, 7),
    Status(b"{" * 20_000),
    Found("http://up", '"e"', 10, "", (("a", "b"),), 0.5, partial=True),
]
HELLO_SAMPLES = [ServerHello(1, b"n" * 16), ClientHello(1, b"n" * 16, "a", "b", b"p" * 32), ServerProof(b"p" * 32)]


def payload_of(run: Units) -> bytes:
    """Every unit of every run has another byte."""
    units = range(run.index, run.index + len(run.hashes))
    return b"".join(bytes([unit + 1]) * UNIT_BYTES for unit in units)[: run.length]


def written(messages: list[Message], key: bytes = KEY) -> bytes:
    writer = FrameWriter()
    if key:
        writer.use_key(key)
    frames = [writer.frame(m) + (payload_of(m) if isinstance(m, Units) else b"") for m in messages]
    return b"".join(frames)


def seen_ahead(reader: FrameReader, data: bytes) -> memoryview | None:
    """What a shell that sees ``data`` may pass on."""
    room = reader.ahead()
    if room is None:
        return None
    count = min(len(room), len(data))
    room[:count] = data[:count]
    return room[:count] if count == len(room) else room[: count // UNIT_BYTES * UNIT_BYTES]


def fed(reader: FrameReader, data: bytes, cuts: list[int], *, look: bool = False) -> list[Message]:
    """Everything that comes out when ``data`` arrives in reads of at most these sizes; runs hold what they should.

    ``look``: what can be seen ahead is passed on.
    """
    messages: list[Message] = []
    position = turn = 0
    run, body = Units(0, 0, ()), bytearray()
    while position < len(data):
        if look and (seen := seen_ahead(reader, data[position:])):
            body += seen
            reader.seen(len(seen))
            position += len(seen)
            assert len(body) < run.length or body == payload_of(run)
            continue
        room = reader.buffer()
        assert len(room) > 0
        count = min(len(room), cuts[turn % len(cuts)], len(data) - position)
        room[:count] = data[position : position + count]
        reader.received(count)
        position, turn = position + count, turn + 1
        while True:
            if (unit := reader.next_unit()) is not None:
                body += unit
                assert len(unit) == UNIT_BYTES or len(body) >= run.length
            elif (message := reader.next()) is not None:
                messages.append(message)
                if isinstance(message, Units):
                    run, body = message, bytearray()
            else:
                break
        assert len(body) < run.length or not run.hashes or body == payload_of(run)
    return messages


def keyed(kinds: object, key: bytes = KEY) -> FrameReader:
    reader = FrameReader(kinds)  # type: ignore[arg-type]  # one of the three tables, by parameter
    if key:
        reader.use_key(key)
    return reader


@settings(max_examples=60, deadline=None)
@given(
    case=st.sampled_from([(REQUEST_SAMPLES, REQUESTS), (ANSWER_SAMPLES, ANSWERS), (HELLO_SAMPLES, HELLOS)]),
    order=st.randoms(use_true_random=False),
    cuts=st.lists(st.sampled_from([1, 2, 3, 17, 300, 4096, 70_000, 300_000]), min_size=1, max_size=5),
    key=st.sampled_from([b"", KEY]),
    window=st.sampled_from([0, 2, 4]),
    look=st.booleans(),
)
def test_however_bytes_are_cut_the_same_messages_come(
    case: tuple[list[Message], object], order: Random, cuts: list[int], key: bytes, window: int, look: bool
) -> None:
    samples, kinds = case
    messages = order.sample(samples, len(samples))
    if max(cuts) < 300:
        messages = [m for m in messages if not isinstance(m, Units | Status | Invalidate)]  # else too slow a test
    reader = keyed(kinds, key)
    reader.window = make_window(window) if window else None
    assert fed(reader, written(messages, key), cuts, look=look) == messages
    assert reader.idle()


@settings(max_examples=300, deadline=None)
@given(
    data=st.binary(max_size=200), kinds=st.sampled_from([HELLOS, REQUESTS, ANSWERS]), key=st.sampled_from([b"", KEY])
)
def test_random_bytes_raise_nothing_but_bad_frame(data: bytes, kinds: object, key: bytes) -> None:
    try:
        fed(keyed(kinds, key), data, [7, 64])
    except BadFrame:
        return


@settings(max_examples=300, deadline=None)
@given(body=st.binary(min_size=1, max_size=80), kinds=st.sampled_from([HELLOS, REQUESTS, ANSWERS]))
def test_random_bodies_raise_nothing_but_bad_frame(body: bytes, kinds: object) -> None:
    try:
        fed(keyed(kinds, b""), len(body).to_bytes(LENGTH_BYTES, "big") + body, [100])
    except BadFrame:
        return


@pytest.mark.parametrize("position", [0, 3, 4, 9, -1, -MAC_BYTES])
def test_a_flipped_bit_anywhere_is_noticed(position: int) -> None:
    frame = bytearray(written([AskLease(5)]) + bytes(64))
    frame[position if position >= 0 else len(frame) - 64 + position] ^= 1
    with pytest.raises(BadFrame):
        fed(keyed(REQUESTS), bytes(frame), [500])


def test_a_frame_counts_once_in_its_place_and_on_its_connection() -> None:
    first, second = written([AskStatus()]), written([AskStatus(), AskStatus()])
    with pytest.raises(BadFrame, match="authentic"):
        fed(keyed(REQUESTS), first + first, [500])
    with pytest.raises(BadFrame, match="authentic"):
        fed(keyed(REQUESTS), second[len(first) :], [500])
    with pytest.raises(BadFrame, match="authentic"):
        fed(keyed(REQUESTS, b"o" * 32), first, [500])


@pytest.mark.parametrize(("kinds", "message"), [(REQUESTS, Waiting()), (ANSWERS, AskStatus()), (HELLOS, AskStatus())])
def test_only_expected_kinds_are_taken(kinds: object, message: Message) -> None:
    with pytest.raises(BadFrame, match="expected"):
        fed(keyed(kinds), written([message]), [500])


def test_a_frame_beyond_the_limit_is_refused_before_memory_is_taken() -> None:
    reader = keyed(HELLOS, b"")
    announced = (HANDSHAKE_BYTES_MAX + 1).to_bytes(LENGTH_BYTES, "big")
    with pytest.raises(BadFrame, match="allowed"):
        fed(reader, announced, [500])
    reader.received(len(reader.buffer()))
    assert len(reader.buffer()) <= 2 * 4096  # one that is asked for more room regardless


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(BadFrame):
        fed(keyed(HELLOS, b""), bytes(LENGTH_BYTES), [500])


@pytest.mark.parametrize(
    ("length", "units"),
    [(0, 1), (-1, 1), (UNIT_BYTES + 1, 1), (UNIT_BYTES, 2), (0, 0), (1, 0), (UNIT_BYTES * 65, 65), (UNIT_BYTES, 1000)],
)
def test_a_run_of_impossible_length_is_refused(length: int, units: int) -> None:
    writer = FrameWriter()
    with pytest.raises(BadFrame, match="units"):
        fed(keyed(ANSWERS, b""), writer.frame(Units(0, length, (0,) * units)), [500])


def test_units_of_a_run_come_in_order_and_nothing_else_in_between() -> None:
    run = Units(0, UNIT_BYTES + 10, (1, 2))
    data = written([run, Waiting()])
    reader = keyed(ANSWERS)
    room = reader.buffer()
    room[:] = data[: len(room)]
    reader.received(len(room))
    assert reader.next_unit() is None
    assert reader.next() == run
    assert reader.next() is None
    assert not reader.idle()
    assert reader.next_unit() is None
    assert fed(reader, data[len(room) :], [UNIT_BYTES]) == [Waiting()]
    assert reader.idle()


def test_a_message_too_large_for_a_frame_is_not_written() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        FrameWriter().frame(Status(bytes(ANSWER_BYTES_MAX)))


def test_bytes_held_while_nobody_pulls_are_kept() -> None:
    reader = keyed(REQUESTS)
    data = written([Invalidate([("b", os.urandom(1000).hex(), "")])] * 6)
    for start in range(0, len(data), 100):
        piece = data[start : start + 100]
        while piece:
            room = reader.buffer()
            count = min(len(room), len(piece))
            room[:count] = piece[:count]
            reader.received(count)
            piece = piece[count:]
    pulled = 0
    while reader.next() is not None:
        pulled += 1
    assert pulled == 6
