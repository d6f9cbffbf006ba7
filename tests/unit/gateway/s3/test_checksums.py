"""Checksums: known values, botocore's values, and bodies that do not match."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

import pytest
from botocore.httpchecksum import _CHECKSUM_CLS
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.checksums import ALGORITHMS, BodyChecks, algorithm_of, encoded_length
from gateway.s3.errors import S3Error

KNOWN = {
    "crc32": "DUoRhQ==", "crc32c": "yZRlqg==", "crc64nvme": "jSnVw/bqjr4=", "md5": "XrY7u+Ae7tCTyyK7j1rNww==",
    "sha1": "Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "sha256": "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
}  # fmt: skip


def computed(algorithm: str, *pieces: bytes) -> str:
    name = "content-md5" if algorithm == "md5" else f"x-amz-checksum-{algorithm}"
    checks = BodyChecks({}, (name,))
    for piece in pieces:
        checks.update(piece)
    return checks.values()[name]


@pytest.mark.parametrize("algorithm", KNOWN)
def test_known_values(algorithm: str) -> None:
    assert computed(algorithm, b"hello", b" world") == KNOWN[algorithm]


@given(pieces=st.lists(st.binary(max_size=300), max_size=5), algorithm=st.sampled_from(sorted(_CHECKSUM_CLS)))
def test_botocore_computes_the_same(pieces: list[bytes], algorithm: str) -> None:
    oracle = _CHECKSUM_CLS[algorithm]()
    oracle.update(b"".join(pieces))
    assert computed(algorithm, *pieces) == b64encode(oracle.digest()).decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_values_have_the_length_of_their_row(algorithm: str) -> None:
    value = computed(algorithm, b"x")
    assert len(value) == encoded_length(algorithm)
    name = "content-md5" if algorithm == "md5" else f"x-amz-checksum-{algorithm}"
    assert algorithm_of(name) == algorithm
    ahead, late = BodyChecks({name: value}), BodyChecks({}, (name,))
    for checks in (ahead, late):
        checks.update(memoryview(b"x"))
    ahead.finish()
    late.finish({name: value})
    wrong = BodyChecks({name: value}), BodyChecks({}, (name,))
    for checks in wrong:
        checks.update(b"y")
    for checks, trailers in zip(wrong, ({}, {name: value}), strict=True):
        with pytest.raises(S3Error) as refused:
            checks.finish(trailers)
        assert refused.value.code == "BadDigest"


def test_other_headers_carry_no_checksum() -> None:
    for name in ("x-amz-checksum-type", "x-amz-checksum-mode", "crc32", "x-amz-checksum-", "etag"):
        assert algorithm_of(name) == ""
    checks = BodyChecks({"x-amz-checksum-type": "FULL_OBJECT", "etag": "x"}, ("x-amz-meta-late",))
    checks.update(b"x")
    checks.finish({"x-amz-meta-late": "1"})
    assert checks.values() == {}


def test_a_checksum_of_checksums_proves_nothing() -> None:
    checks = BodyChecks({"x-amz-checksum-crc32": "AAAAAA==-3"}, ("x-amz-checksum-sha1",))
    checks.update(b"x")
    checks.finish({"x-amz-checksum-sha1": "AAAA-2", "x-amz-checksum-sha256": "A" * 43 + "="})


@pytest.mark.parametrize("value", ["", "AAAA", "!!!!!!==", "AAAAAAAA", "DUoRhQ"])
def test_impossible_values_are_refused_at_once(value: str) -> None:
    with pytest.raises(S3Error) as refused:
        BodyChecks({"x-amz-checksum-crc32": value})
    assert refused.value.code == "InvalidDigest"
    with pytest.raises(S3Error) as refused:
        BodyChecks({}, ("x-amz-checksum-crc32",)).finish({"x-amz-checksum-crc32": value})
    assert refused.value.code == "InvalidDigest"


def test_the_payload_hash_is_checked_in_the_same_pass() -> None:
    good = BodyChecks({}, payload_hash=sha256(b"xy").hexdigest())
    good.update(b"x")
    good.update(b"y")
    good.finish()
    with pytest.raises(S3Error) as refused:
        BodyChecks({}, payload_hash=sha256(b"xy").hexdigest()).finish()
    assert refused.value.code == "XAmzContentSHA256Mismatch"
