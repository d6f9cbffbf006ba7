from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from cache.chunks import UNIT_BYTES, Chunk, unit_count
from cache.store import footer
from cache.store.footer import FooterDamaged
from cache.versions import ObjectVersion
from tests.unit.cache.store.samples import chunk_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    size = draw(st.integers(1, 8 * UNIT_BYTES))
    chunk_bytes = draw(st.integers(UNIT_BYTES, 4 * UNIT_BYTES))
    version = ObjectVersion(draw(TEXT), draw(TEXT), draw(TEXT), draw(TEXT), size, draw(TEXT))
    return Chunk(version, chunk_bytes, draw(st.integers(0, (size - 1) // chunk_bytes)))


def hashes_of(chunk: Chunk) -> tuple[int, ...]:
    return tuple(xxh3_64_intdigest(bytes([unit])) for unit in range(unit_count(chunk.length)))


def resealed(body: bytes) -> bytes:
    """The body with a tail that fits it, as a buggy or hostile writer might make."""
    return body + struct.pack("<IQ8s", len(body), xxh3_64_intdigest(body), footer.END_MAGIC)


@given(chunks())
def test_what_was_encoded_decodes(chunk: Chunk) -> None:
    raw = footer.encode(chunk, hashes_of(chunk))
    assert footer.footer_bytes(b"payload" + raw) == len(raw)
    assert footer.decode(raw, chunk.length + len(raw)) == footer.Footer(chunk, hashes_of(chunk))


def test_every_flipped_bit_is_seen() -> None:
    chunk = chunk_of(1, 3 * UNIT_BYTES + 5)
    raw = footer.encode(chunk, hashes_of(chunk))
    for bit in range(8 * len(raw)):
        bad = bytearray(raw)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FooterDamaged):
            footer.decode(bytes(bad), chunk.length + len(raw))


@given(chunks(), st.data())
def test_cut_extended_or_garbage_is_seen(chunk: Chunk, data: st.DataObject) -> None:
    raw = footer.encode(chunk, hashes_of(chunk))
    cut = data.draw(st.integers(1, len(raw)))
    more = data.draw(st.binary(min_size=1, max_size=50))
    for bad in (raw[:-cut], raw[cut:], raw + more, more + raw, more):
        with pytest.raises(FooterDamaged):
            footer.decode(bad, chunk.length + len(bad))


@given(chunks(), st.integers(-(2**20), 2**20).filter(bool))
def test_a_file_of_another_size_is_seen(chunk: Chunk, off: int) -> None:
    raw = footer.encode(chunk, hashes_of(chunk))
    with pytest.raises(FooterDamaged):
        footer.decode(raw, chunk.length + len(raw) + off)


@given(st.binary(max_size=300))
def test_a_rehashed_body_of_garbage_never_decodes(body: bytes) -> None:
    with pytest.raises(FooterDamaged):
        footer.decode(resealed(body), 10_000)


@pytest.mark.parametrize(
    ("what", "at", "value"),
    [
        ("magic", 0, b"X"),
        ("layout", 8, b"\x02"),
        ("object size", 12, b"\x00" * 8),
        ("index", 28, b"\x07"),
        ("payload length", 36, b"\x01"),
        ("unit count", 44, b"\x09"),
        ("text length", 48, b"\xff\xff"),
        ("text", 52, b"\xff"),
    ],
)
def test_a_body_that_contradicts_itself_is_seen_though_its_hash_fits(what: str, at: int, value: bytes) -> None:
    chunk = chunk_of(1, 1000)
    raw = footer.encode(chunk, hashes_of(chunk))
    body = bytearray(raw[: -footer.TAIL_BYTES])
    body[at : at + len(value)] = value
    with pytest.raises(FooterDamaged):
        footer.decode(resealed(bytes(body)), chunk.length + len(raw))


@pytest.mark.parametrize(("file", "disk"), [(0, 0), (1, 4096), (4096, 4096), (4097, 8192)])
def test_a_file_takes_whole_blocks(file: int, disk: int) -> None:
    assert footer.disk_bytes(file) == disk


def test_a_wrong_number_of_hashes_is_refused() -> None:
    with pytest.raises(ValueError, match="2 hashes for 1 units"):
        footer.encode(chunk_of(), (1, 2))
