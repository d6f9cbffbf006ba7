"""Answers become the right exception, and exceptions survive the way between processes."""

from __future__ import annotations

import pickle

import pytest

from gateway.client.errors import AccessDenied, GatewayError, ObjectChanged, ObjectNotFound, RangeOutside, refusal

DOCUMENT = b"<Error><Code>NoSuchKey</Code><Message>it&apos;s gone</Message><RequestId>R1</RequestId></Error>"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, AccessDenied),
        (401, AccessDenied),
        (404, ObjectNotFound),
        (412, ObjectChanged),
        (416, RangeOutside),
        (500, GatewayError),
        (302, GatewayError),
    ],
)
def test_the_status_names_the_kind(status: int, kind: type[GatewayError]) -> None:
    error = refusal(status, {}, b"", "GET b/k")
    assert type(error) is kind
    assert (error.status, error.code, error.request_id) == (status, "", "")
    assert str(error) == f"GET b/k: {status}"


def test_the_document_names_code_message_and_request() -> None:
    error = refusal(404, {}, DOCUMENT, "GET b/k")
    assert (error.code, error.request_id) == ("NoSuchKey", "R1")
    assert str(error) == "GET b/k: 404 NoSuchKey (it's gone)"
    assert refusal(404, {"x-amz-request-id": "R2"}, DOCUMENT, "").request_id == "R2"


def test_an_error_can_be_pickled_and_made_from_its_message() -> None:
    error = pickle.loads(pickle.dumps(refusal(404, {}, DOCUMENT, "GET b/k")))
    assert type(error) is ObjectNotFound
    assert (error.status, error.code) == (404, "NoSuchKey")
    assert str(type(error)("text")) == "text"
