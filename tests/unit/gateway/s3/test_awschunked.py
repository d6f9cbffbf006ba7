"""aws-chunked: the documentation's chunks and trailers, arbitrary cuts, and every lie that a body can tell."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.s3.awschunked import (
    LINE_BYTES_MAX,
    SIGNED_CHUNK_BYTES_MAX,
    ChunkedDecoder,
    announced_trailers,
    close_frame,
    decoded_length,
    framed_length,
    open_frame,
)
from gateway.s3.canonical import derived_key, seal
from gateway.s3.errors import S3Error
from gateway.s3.sigv4 import EMPTY_SHA256, Authenticated, PayloadMode
from tests.unit.gateway.s3.asking import ask

KEY = derived_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1", "s3")
DATE, SCOPE = "20130524T000000Z", "20130524/us-east-1/s3/aws4_request"
CRC = "x-amz-checksum-crc32c"


def auth_of(mode: PayloadMode, seed: str = "0" * 64) -> Authenticated:
    return Authenticated("a", mode, "", seed, DATE, SCOPE, KEY)


def chunk(size: int, signature: str = "", data: bytes = b"") -> bytes:
    line = b"%x" % size + (b";chunk-signature=" + signature.encode() if signature else b"")
    return line + b"\r\n" + data + (b"\r\n" if size else b"")


def signed_body(pieces: list[bytes], trailers: dict[str, str] | None = None, seed: str = "0" * 64) -> bytes:
    """A body in a signed mode, as a client makes it."""
    chunks, previous = [], seed
    for piece in [*pieces, b""]:
        digest = sha256(piece).hexdigest()
        previous = seal(KEY, f"AWS4-HMAC-SHA256-PAYLOAD\n{DATE}\n{SCOPE}\n{previous}\n{EMPTY_SHA256}\n{digest}")
        chunks.append(chunk(len(piece), previous, piece))
    out = b"".join(chunks)
    if trailers is None:
        return out + b"\r\n"
    lines = "".join(f"{name}:{value}\n" for name, value in trailers.items())
    digest = sha256(lines.encode()).hexdigest()
    signature = seal(KEY, f"AWS4-HMAC-SHA256-TRAILER\n{DATE}\n{SCOPE}\n{previous}\n{digest}")
    told = "".join(f"{name}:{value}\r\n" for name, value in trailers.items())
    return out + f"{told}x-amz-trailer-signature:{signature}\r\n\r\n".encode()


def decode(decoder: ChunkedDecoder, body: bytes, cuts: list[int] | None = None) -> bytes:
    """Feed a body in pieces, then close."""
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts or [])})
    pieces = [body[start:stop] for start, stop in pairwise(edges)]
    return b"".join(b"".join(decoder.feed(piece)) for piece in pieces) + b"".join(decoder.close())


def refusal(decoder: ChunkedDecoder, body: bytes) -> str:
    """The code that ends a body; what came out before is never everything."""
    out = b""
    with pytest.raises(S3Error) as refused:  # noqa: PT012 - the loop is the act
        for index in range(len(body)):
            out += b"".join(decoder.feed(body[index : index + 1]))
        decoder.close()
    assert not decoder.done
    return refused.value.code


def test_chunks_of_the_documentation() -> None:
    seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    body = (
        chunk(65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648", b"a" * 65536)
        + chunk(1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497", b"a" * 1024)
        + chunk(0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9")
        + b"\r\n"
    )
    assert len(body) == 66824
    decoder = ChunkedDecoder(auth_of(PayloadMode.SIGNED_CHUNKS, seed), 66560)
    assert decode(decoder, body) == b"a" * 66560
    assert decoder.done


def documented_trailer_body() -> bytes:
    return (
        chunk(65536, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2", b"a" * 65536)
        + chunk(1024, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7", b"a" * 1024)
        + chunk(0, "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992")
        + b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
        + b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n"
    )


TRAILER_SEED = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"


@pytest.mark.parametrize("end", [b"\r\n", b""])
def test_trailer_of_the_documentation(end: bytes) -> None:
    decoder = ChunkedDecoder(auth_of(PayloadMode.SIGNED_CHUNKS_TRAILER, TRAILER_SEED), 66560, [CRC])
    assert decode(decoder, documented_trailer_body() + end) == b"a" * 66560
    assert decoder.trailers == {CRC: "sOO8/Q=="}


def test_an_empty_line_before_the_trailers_is_taken() -> None:
    body = documented_trailer_body().replace(b"\r\nx-amz-checksum", b"\r\n\r\nx-amz-checksum") + b"\r\n"
    decoder = ChunkedDecoder(auth_of(PayloadMode.SIGNED_CHUNKS_TRAILER, TRAILER_SEED), 66560, [CRC])
    assert decode(decoder, body) == b"a" * 66560


PIECES = st.lists(st.binary(min_size=1, max_size=200), max_size=6)
CUTS = st.lists(st.integers(0, 5000), max_size=40)


@settings(max_examples=150, deadline=None)
@given(pieces=PIECES, cuts=CUTS)
def test_however_bytes_are_cut_a_signed_body_is_the_same(pieces: list[bytes], cuts: list[int]) -> None:
    payload = b"".join(pieces)
    plain = ChunkedDecoder(auth_of(PayloadMode.SIGNED_CHUNKS), len(payload))
    assert decode(plain, signed_body(pieces), cuts) == payload
    late = ChunkedDecoder(auth_of(PayloadMode.SIGNED_CHUNKS_TRAILER), len(payload), [CRC])
    assert decode(late, signed_body(pieces, {CRC: "sOO8/Q=="}), cuts) == payload
    assert late.trailers == {CRC: "sOO8/Q=="}


@settings(max_examples=150, deadline=None)
@given(pieces=PIECES, cuts=CUTS, framed=st.booleans())
def test_however_bytes_are_cut_an_unsigned_body_is_the_same(pieces: list[bytes], cuts: list[int], framed: bool) -> None:
    payload = b"".join(pieces)
    trailers = {CRC: "AAAAAA==", "x-amz-meta-late": "1"}
    body = b"".join(chunk(len(piece), "", piece) for piece in pieces) + close_frame(0, trailers)
    if framed:
        body = open_frame(len(payload)) + payload + close_frame(len(payload), trailers)
        assert framed_length(len(payload), {name: len(value) for name, value in trailers.items()}) == len(body)
    decoder = ChunkedDecoder(auth_of(PayloadMode.UNSIGNED_TRAILER), len(payload), trailers)
    assert decode(decoder, body, cuts) == payload
    assert decoder.trailers == trailers


def test_unsigned_payload_passes_as_it_comes_but_for_its_end() -> None:
    decoder = ChunkedDecoder(auth_of(PayloadMode.UNSIGNED_TRAILER), 10, [])
    assert decoder.feed(b"a\r\n12345") == [b"12345"]
    assert decoder.feed(b"6789") == [b"6789"]
    assert decoder.feed(b"0\r\n0\r\n") == []
    assert decoder.feed(b"\r\n") == [b"0"]
    assert decoder.done


def test_a_signed_chunk_comes_out_only_when_it_is_right() -> None:
    body = signed_body([b"first", b"second"])
    decoder = ChunkedDecoder(auth_of(PayloadMode.SIGNED_CHUNKS), 11)
    cut = body.index(b"first") + 5
    assert decoder.feed(body[:cut]) == []
    assert decoder.feed(body[cut : cut + 2]) == [b"first"]
    end = body.index(b"second") + 8
    assert decoder.feed(body[cut + 2 : end]) == []
    assert decoder.feed(body[end:]) == [b"second"]


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, 10_000), bit=st.integers(0, 7), trailing=st.booleans())
def test_no_flipped_bit_completes_a_signed_body(position: int, bit: int, trailing: bool) -> None:
    body = bytearray(signed_body([b"first", b"second"], {CRC: "sOO8/Q=="} if trailing else None))
    body[position % len(body)] ^= 1 << bit
    mode = PayloadMode.SIGNED_CHUNKS_TRAILER if trailing else PayloadMode.SIGNED_CHUNKS
    decoder = ChunkedDecoder(auth_of(mode), 11, [CRC] if trailing else [])
    try:
        out = decode(decoder, bytes(body))
    except S3Error:
        assert not decoder.done
        return
    assert out == b"firstsecond"  # a letter's case in a size or a name: the same body
    assert decoder.trailers == ({CRC: "sOO8/Q=="} if trailing else {})


GOOD = signed_body([b"first", b"second"])
FIRST, SECOND, LAST = GOOD[: GOOD.index(b"first") + 7], GOOD[GOOD.index(b"first") + 7 : -86], GOOD[-86:]


def test_the_parts_of_the_good_body_are_its_chunks() -> None:
    assert FIRST + SECOND + LAST == GOOD
    assert LAST.startswith(b"0;")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (SECOND + FIRST + LAST, "SignatureDoesNotMatch"),
        (FIRST + FIRST + LAST, "SignatureDoesNotMatch"),
        (FIRST + LAST, "IncompleteBody"),
        (FIRST + SECOND + SECOND + LAST, "IncompleteBody"),
        (FIRST + SECOND, "IncompleteBody"),
        (FIRST + SECOND + LAST[:-2], "IncompleteBody"),
        (GOOD[:-90], "IncompleteBody"),
        (GOOD[:-2] + b"x-amz-checksum-crc32c:1\r\n\r\n", "MalformedTrailerError"),
        (FIRST.replace(b"first", b"fir5t") + SECOND + LAST, "SignatureDoesNotMatch"),
        (FIRST.replace(b"first\r\n", b"first..\r\n") + SECOND + LAST, "InvalidRequest"),
        (b"5\r\nfirst\r\n", "InvalidRequest"),
        (b"5;chunk-signature=zz\r\n", "InvalidRequest"),
        (b"5;other=1;chunk-signature=" + b"0" * 64 + b"\r\n", "InvalidRequest"),
        (b"-5;chunk-signature=" + b"0" * 64 + b"\r\n", "InvalidRequest"),
        (b"\r\n" + GOOD, "InvalidRequest"),
        (b"1" * (LINE_BYTES_MAX + 2), "InvalidRequest"),
        (b"", "IncompleteBody"),
    ],
)
def test_a_signed_body_that_lies_is_refused(body: bytes, code: str) -> None:
    assert refusal(ChunkedDecoder(auth_of(PayloadMode.SIGNED_CHUNKS), 11), body) == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"5\r\nhello\r\n0\r\n\r\n", "IncompleteBody"),
        (b"5\r\nhello\r\n0\r\nx-other:1\r\n\r\n", "MalformedTrailerError"),
        (b"5\r\nhello\r\n0\r\nno colon\r\n\r\n", "MalformedTrailerError"),
        (b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:1\r\nx-amz-checksum-crc32c:1\r\n\r\n", "MalformedTrailerError"),
        (b"5;chunk-signature=" + b"0" * 64 + b"\r\nhello\r\n", "InvalidRequest"),
        (b"6\r\nhello!\r\n0\r\n", "IncompleteBody"),
        (b"4\r\nhell\r\n0\r\n", "IncompleteBody"),
        (b"5\r\nhello0\r\n", "InvalidRequest"),
    ],
)
def test_an_unsigned_body_that_lies_is_refused(body: bytes, code: str) -> None:
    assert refusal(ChunkedDecoder(auth_of(PayloadMode.UNSIGNED_TRAILER), 5, [CRC]), body) == code


def test_every_announced_trailer_must_come() -> None:
    decoder = ChunkedDecoder(auth_of(PayloadMode.UNSIGNED_TRAILER), 0, [CRC, "x-amz-checksum-sha1"])
    assert refusal(decoder, b"0\r\nx-amz-checksum-crc32c:1\r\n\r\n") == "MalformedTrailerError"


def test_a_trailer_after_its_signature_or_a_wrong_one_is_refused() -> None:
    good = signed_body([b"x"], {CRC: "sOO8/Q=="})
    for body, code in (
        (good[:-2] + b"x-amz-checksum-crc32c:2\r\n\r\n", "MalformedTrailerError"),
        (good.replace(b"sOO8", b"sOO9"), "SignatureDoesNotMatch"),
        (good[: good.index(b"x-amz-trailer-sig")] + b"\r\n", "SignatureDoesNotMatch"),
    ):
        assert refusal(ChunkedDecoder(auth_of(PayloadMode.SIGNED_CHUNKS_TRAILER), 1, [CRC]), body) == code


def test_without_verifying_only_the_lengths_count() -> None:
    body = signed_body([b"first", b"second"], {CRC: "sOO8/Q=="}).replace(b"first", b"fir5t").replace(b"O8", b"O9")
    decoder = ChunkedDecoder(auth_of(PayloadMode.SIGNED_CHUNKS_TRAILER), 11, [CRC], verify=False)
    assert decode(decoder, body) == b"fir5tsecond"
    assert decoder.trailers == {CRC: "sOO9/Q=="}
    short = ChunkedDecoder(auth_of(PayloadMode.SIGNED_CHUNKS_TRAILER), 12, [CRC], verify=False)
    assert refusal(short, body) == "IncompleteBody"


def test_bytes_after_the_end_are_refused() -> None:
    decoder = ChunkedDecoder(auth_of(PayloadMode.SIGNED_CHUNKS), 11)
    with pytest.raises(S3Error, match="after the last chunk"):
        decoder.feed(GOOD + b"x")


def test_a_signed_chunk_has_a_limit() -> None:
    decoder = ChunkedDecoder(auth_of(PayloadMode.SIGNED_CHUNKS), 10**9)
    with pytest.raises(S3Error, match="at most"):
        decoder.feed(chunk(SIGNED_CHUNK_BYTES_MAX + 1, "0" * 64)[:90])


def test_chunks_of_one_byte_cost_no_more_than_their_lines() -> None:
    body = b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"
    decoder = ChunkedDecoder(auth_of(PayloadMode.UNSIGNED_TRAILER), 20_000)
    out = [piece for start in range(0, len(body), 16384) for piece in decoder.feed(body[start : start + 16384])]
    assert b"".join(out) == b"x" * 20_000


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "MissingContentLength"),
        ("-1", "InvalidArgument"),
        ("\u0661", "InvalidArgument"),
        ("9" * 19, "EntityTooLarge"),
    ],
)
def test_a_decoded_length_is_required(value: str | None, code: str) -> None:
    headers = {} if value is None else {"x-amz-decoded-content-length": value}
    with pytest.raises(S3Error) as refused:
        decoded_length(ask("PUT", "/bucket/key", headers))
    assert refused.value.code == code


def test_announcements_of_a_request() -> None:
    request = ask("PUT", "/bucket/key", {"x-amz-decoded-content-length": "12", "x-amz-trailer": "X-Amz-A, b,"})
    assert decoded_length(request) == 12
    assert announced_trailers(request) == ("x-amz-a", "b")
    assert announced_trailers(ask("PUT", "/bucket/key")) == ()
    with pytest.raises(S3Error, match="too many"):
        announced_trailers(ask("PUT", "/bucket/key", {"x-amz-trailer": ",".join("abcdefghijklmnopq")}))
