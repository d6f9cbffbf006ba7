"""Errors: every code, every fault, and the document that tells them."""

from __future__ import annotations

import inspect
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st

from cache import faults
from cache.faults import Fault
from cache.pieces import Source
from gateway.s3.errors import CODES, S3Error, answer_for, error_for, escape_text, render_error
from tests.unit.gateway.s3.asking import ask


def document(body: object) -> Element:
    assert isinstance(body, bytes)
    return fromstring(body)


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_an_answer(code: str) -> None:
    answer = answer_for(S3Error(code), request=ask("GET", "/bucket/a%26b"), request_id="id7")
    told = document(answer.body)
    assert (told.tag, answer.status) == ("Error", CODES[code][0])
    assert {"Code": code, "Message": CODES[code][1], "RequestId": "id7", "Resource": "/bucket/a%26b"}.items() <= {
        child.tag: child.text for child in told
    }.items()
    assert ("content-type", "application/xml") in answer.headers
    assert isinstance(answer.body, bytes)
    assert answer.length == len(answer.body)


def test_an_unknown_code_is_our_mistake() -> None:
    with pytest.raises(KeyError):
        S3Error("NoSuchCode")


RETRY = ("retry-after", "1")
FAULTS = [
    (faults.RangeOutside(7), "InvalidRange", 416), (faults.VersionChanged(), "ServiceUnavailable", 503),
    (faults.UpstreamUnreachable(), "ServiceUnavailable", 503), (faults.UpstreamBusy(), "SlowDown", 503),
    (faults.UpstreamBroken(), "ServiceUnavailable", 503), (faults.BudgetSpent("fills"), "SlowDown", 503),
    (faults.Draining(), "ServiceUnavailable", 503), (faults.PeerUnreachable(), "InternalError", 500),
    (faults.PeerLied(), "InternalError", 500), (faults.PeerRefused(), "InternalError", 500),
    (faults.DiskFailed(), "InternalError", 500), (faults.DiskFull(), "InternalError", 500),
    (faults.DiskDamaged(), "InternalError", 500), (faults.PeerPassedOn(faults.UpstreamBusy()), "SlowDown", 503),
    (faults.UpstreamRefused(404), "ServiceUnavailable", 503), (faults.ClientFault(), "InvalidRequest", 400),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "code", "status"), FAULTS, ids=lambda value: type(value).__name__)
def test_every_fault_has_an_error(fault: Fault, code: str, status: int) -> None:
    error = error_for(fault)
    assert (error.code, error.status) == (code, status)
    assert (RETRY in error.headers) == (status == 503)


def test_no_fault_is_forgotten() -> None:
    leaves = {kind for _, kind in inspect.getmembers(faults, inspect.isclass) if issubclass(kind, Fault)}
    parents = {Fault, faults.UpstreamFault, faults.PeerFault, faults.DiskFault, faults.OwnFault}
    assert leaves - parents == {type(fault) for fault, _, _ in FAULTS}


def test_a_range_outside_says_what_there_is() -> None:
    request = ask("GET", "/bucket/key", {"range": "bytes=9-<"})
    answer = answer_for(faults.RangeOutside(0), request=request, request_id="i")
    told = document(answer.body)
    assert (told.findtext("ActualObjectSize"), told.findtext("RangeRequested")) == ("0", "bytes=9-<")
    assert ("content-range", "bytes */0") in answer.headers


def test_a_head_gets_no_body() -> None:
    answer = answer_for(S3Error("NoSuchKey"), request=ask("HEAD", "/bucket/key"), request_id="i")
    assert answer.status == 404
    assert answer.body is None
    assert answer.length


def test_what_could_not_be_parsed_is_answered_too() -> None:
    answer = answer_for(S3Error("InvalidURI"), request=None, request_id="i")
    assert document(answer.body).findtext("Resource") in {"", None}


@pytest.mark.parametrize("wrapped", [False, True])
def test_upstreams_own_error_goes_through(wrapped: bool) -> None:
    refused: Fault = faults.UpstreamRefused(
        404, (("content-type", "application/xml"), ("x-amz-id-2", "u")), b"<Error/>"
    )
    fault = faults.PeerPassedOn(refused) if wrapped else refused
    answer = answer_for(fault, request=ask("GET", "/bucket/key"), request_id="i")
    assert (answer.status, answer.length, answer.body) == (404, 8, b"<Error/>")
    assert answer.headers == [("content-type", "application/xml"), ("x-amz-id-2", "u")]
    assert answer.source is Source.UPSTREAM
    head = answer_for(fault, request=ask("HEAD", "/bucket/key"), request_id="i")
    assert (head.status, head.body) == (404, None)
    unchanged = answer_for(faults.UpstreamRefused(304), request=ask("GET", "/bucket/key"), request_id="i")
    assert (unchanged.status, unchanged.length, unchanged.body) == (304, 0, None)


def test_a_bare_error_of_upstreams_head_gets_a_document() -> None:
    refused = faults.UpstreamRefused(404, (("content-type", "x"), ("x-amz-delete-marker", "true")))
    answer = answer_for(refused, request=ask("GET", "/bucket/key"), request_id="i")
    assert answer.status == 404
    assert document(answer.body).findtext("Code") == "NoSuchKey"
    assert answer.headers == [("content-type", "application/xml"), ("x-amz-delete-marker", "true")]
    assert answer_for(refused, request=ask("HEAD", "/bucket/key"), request_id="i").body is None
    odd = answer_for(faults.UpstreamRefused(451), request=ask("GET", "/bucket/key"), request_id="i")
    assert (odd.status, odd.body) == (451, b"")


@given(text=st.text())
def test_whatever_is_told_the_document_parses(text: str) -> None:
    error = S3Error("InvalidArgument", "m", fields={"ArgumentName": text})
    told = fromstring(render_error(error, resource=text, request_id="i"))
    assert told.findtext("Code") == "InvalidArgument"


def test_escapes() -> None:
    assert escape_text('<a href="x">&\n\0\ud800') == '&lt;a href="x"&gt;&amp;\n\ufffd\ufffd'
