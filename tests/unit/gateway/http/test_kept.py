"""Kept replies: found under what was asked, bounded, and gone with the regulars that they were kept for."""

from __future__ import annotations

from typing import Any

import pytest

from cache.versions import Entry, ObjectRef, ObjectVersion
from gateway.admission import ANYBODY, Regular
from gateway.http.heads import frame_of
from gateway.http.kept import KEPT_STEPS_MAX, Kept, KeptReplies
from gateway.meter.counters import WorkerMeter
from gateway.reads import Judged
from gateway.s3.answers import Answer
from gateway.s3.habits import Habit, Shown
from gateway.s3.requests import read_head, request_of

HEAD = b"GET /bucket/k HTTP/1.1\r\nhost: h\r\nrange: bytes=0-9\r\n\r\n"


@pytest.fixture
def regular() -> Regular:
    read = read_head(HEAD)
    assert read is not None
    return Regular(Habit(HEAD, request_of(*read, ()), None, ()), ANYBODY, {})


def shown(regular: Regular, key: bytes = b"k", asked: bytes = b"0-9") -> Shown:
    found = regular.shown(HEAD.replace(b"/k ", b"/%b " % key).replace(b"0-9", asked), 0.0)
    assert found is not None
    return found


def reply(plan: tuple[Any, ...] = ()) -> Kept:
    read = read_head(HEAD)
    assert read is not None
    entry = Entry(ObjectVersion("o", "b", "k", '"e"', 10), (), checked_at=0.0, token=0)
    answer = Answer(206, [], 10)
    judged = Judged(ObjectRef("b", "k"), entry, answer, entry.version.whole, plan, stages=False)
    meter = WorkerMeter("", 0).client("c", "", "", 0, 0.0)
    return Kept(judged, frame_of(answer, close=False, chunked=False), meter, "GetObject", request_of(*read, ()))


def test_a_reply_is_found_by_whom_what_and_which_bytes(regular: Regular) -> None:
    replies, kept = KeptReplies(), reply()
    replies.keep(regular, shown(regular), kept, 0)
    assert replies.find(regular, shown(regular)) is kept
    assert replies.find(regular, shown(regular, b"other")) is None
    assert replies.find(regular, shown(regular, asked=b"0-8")) is None
    assert replies.find(Regular(regular.habit, ANYBODY, {}), shown(regular)) is None


def test_the_oldest_goes_and_long_plans_are_not_kept(regular: Regular) -> None:
    replies = KeptReplies(3)
    for number in range(5):
        replies.keep(regular, shown(regular, b"k%d" % number), reply(), 0)
    assert len(replies) == 3
    assert replies.find(regular, shown(regular, b"k1")) is None
    assert replies.find(regular, shown(regular, b"k2")) is not None
    replies.keep(regular, shown(regular, b"long"), reply((None,) * (KEPT_STEPS_MAX + 1)), 0)
    assert replies.find(regular, shown(regular, b"long")) is None


def test_replies_go_with_the_regulars_that_they_were_kept_for(regular: Regular) -> None:
    replies = KeptReplies()
    replies.keep(regular, shown(regular), reply(), 0)
    replies.keep(regular, shown(regular, b"new"), reply(), 1)
    assert len(replies) == 1
    assert replies.find(regular, shown(regular, b"new")) is not None
