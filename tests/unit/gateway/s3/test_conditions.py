"""Conditions: every header alone, their order, and the odd values."""

from __future__ import annotations

import pytest

from gateway.s3.conditions import Verdict, judge_conditions
from tests.unit.gateway.s3.asking import ask

ETAG = '"abc-2"'
CHANGED = "Fri, 24 May 2013 00:00:00 GMT"
EARLIER = "Thu, 23 May 2013 23:59:59 GMT"
LATER = "Fri, 24 May 2013 00:00:01 GMT"
GO, KNOWN, FAILED, WHOLE = Verdict.PROCEED, Verdict.NOT_MODIFIED, Verdict.PRECONDITION_FAILED, Verdict.IGNORE_RANGE


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({}, GO),
        ({"if-match": ETAG}, GO), ({"if-match": "*"}, GO), ({"if-match": "abc-2"}, GO), ({"if-match": '"x"'}, FAILED),
        ({"if-match": f'"x", {ETAG}'}, GO), ({"if-match": '"x","y"'}, FAILED), ({"if-match": f"W/{ETAG}"}, FAILED),
        ({"if-match": ""}, FAILED), ({"if-match": '"a,b"'}, FAILED),
        ({"if-none-match": ETAG}, KNOWN), ({"if-none-match": "*"}, KNOWN), ({"if-none-match": '"x"'}, GO),
        ({"if-none-match": f"W/{ETAG}"}, KNOWN), ({"if-none-match": f'"x" , W/{ETAG}'}, KNOWN),
        ({"if-none-match": "abc-2"}, KNOWN), ({"if-none-match": ""}, GO),
        ({"if-modified-since": EARLIER}, GO), ({"if-modified-since": CHANGED}, KNOWN),
        ({"if-modified-since": LATER}, KNOWN), ({"if-modified-since": "nonsense"}, GO), ({"if-modified-since": ""}, GO),
        ({"if-unmodified-since": EARLIER}, FAILED), ({"if-unmodified-since": CHANGED}, GO),
        ({"if-unmodified-since": LATER}, GO), ({"if-unmodified-since": "nonsense"}, GO),
        ({"if-unmodified-since": "Fri, 99 May 2013 00:00:00 GMT"}, GO),
        ({"if-match": ETAG, "if-unmodified-since": EARLIER}, GO),
        ({"if-match": '"x"', "if-unmodified-since": LATER}, FAILED),
        ({"if-none-match": '"x"', "if-modified-since": LATER}, GO),
        ({"if-none-match": ETAG, "if-modified-since": EARLIER}, KNOWN),
        ({"if-match": '"x"', "if-none-match": ETAG}, FAILED), ({"if-match": ETAG, "if-none-match": ETAG}, KNOWN),
        ({"if-unmodified-since": EARLIER, "if-none-match": ETAG}, FAILED),
        ({"if-range": ETAG, "range": "bytes=0-1"}, GO), ({"if-range": '"x"', "range": "bytes=0-1"}, WHOLE),
        ({"if-range": f"W/{ETAG}", "range": "bytes=0-1"}, WHOLE), ({"if-range": CHANGED, "range": "bytes=0-1"}, GO),
        ({"if-range": LATER, "range": "bytes=0-1"}, WHOLE), ({"if-range": EARLIER, "range": "bytes=0-1"}, WHOLE),
        ({"if-range": '"x"'}, GO), ({"if-range": '"x"', "range": "bytes=0-1", "if-match": '"x"'}, FAILED),
        ({"if-modified-since": "Fri, 24 May 2013 02:00:00 +0200"}, KNOWN),
        ({"if-modified-since": "Fri, 24 May 2013 00:00:00 -0000"}, KNOWN),
        ({"if-modified-since": "Friday, 24-May-13 00:00:00 GMT"}, KNOWN),
    ],
)  # fmt: skip
def test_verdicts(headers: dict[str, str], verdict: Verdict) -> None:
    assert judge_conditions(ask("GET", "/bucket/key", headers), ETAG, CHANGED) is verdict


def test_a_weak_etag_never_matches_strongly() -> None:
    request = ask("GET", "/bucket/key", {"if-match": 'W/"a"', "range": "bytes=0-1"})
    assert judge_conditions(request, 'W/"a"', CHANGED) is FAILED
    request = ask("GET", "/bucket/key", {"if-none-match": '"a"'})
    assert judge_conditions(request, 'W/"a"', CHANGED) is KNOWN


def test_an_object_without_last_modified_has_not_changed_at_any_time() -> None:
    for headers in ({"if-modified-since": EARLIER}, {"if-unmodified-since": EARLIER}):
        assert judge_conditions(ask("GET", "/bucket/key", headers), ETAG, "") is GO
