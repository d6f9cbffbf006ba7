"""The footer of a chunk file: who the payload is, and the hash of each of its units.

A chunk file is ``payload | body | tail``; the payload lies at offset 0 so that ``sendfile`` needs no arithmetic. The
*body* holds magic and layout, the identity of the chunk in full (never only its id), the payload's length and one
xxh3-64 per unit. The *tail* has a fixed size, so that the file can be read from its end: length of the body, xxh3-64
of the body, end magic. What always holds: a footer that decodes is bit for bit what :func:`encode` made, and it fits a
file of exactly the given size. A file that was cut, extended, flipped or swapped therefore either does not decode or
names another chunk than the one asked for, and the caller compares. Integers are little-endian.

Nothing here reads a file: the store, recovery and scrub do, and hand over bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from xxhash import xxh3_64_intdigest

from cache.chunks import Chunk, unit_count
from cache.versions import ObjectVersion

MAGIC: Final = b"FOREBAYC"
END_MAGIC: Final = b"CYABEROF"
LAYOUT: Final = 1
_FIXED: Final = struct.Struct("<8sIQQQQI")  # magic, layout, object size, chunk bytes, index, payload length, units
_TAIL: Final = struct.Struct("<IQ8s")  # body length, xxh3-64 of the body, end magic
_LENGTH: Final = struct.Struct("<I")
TAIL_BYTES: Final = _TAIL.size
FOOTER_BYTES_MAX: Final = 64 * 1024 * 1024
BLOCK_BYTES: Final = 4096


class FooterDamaged(ValueError):
    """These bytes are no footer, or not the footer of a file of this size."""


@dataclass(frozen=True, slots=True)
class Footer:
    """What a footer says: the chunk, and the xxh3-64 of each of its units."""

    chunk: Chunk
    hashes: tuple[int, ...]


def disk_bytes(file_bytes: int) -> int:
    """What a file of that size takes of the quota: whole blocks, as filesystems give them."""
    return -(-file_bytes // BLOCK_BYTES) * BLOCK_BYTES


def encode(chunk: Chunk, hashes: tuple[int, ...]) -> bytes:
    """Body and tail for ``chunk``, whose units hash to ``hashes``. Raises ValueError when their number is wrong."""
    if len(hashes) != unit_count(chunk.length):
        raise ValueError(f"{len(hashes)} hashes for {unit_count(chunk.length)} units")
    version = chunk.version
    fixed = (MAGIC, LAYOUT, version.size, chunk.chunk_bytes, chunk.index, chunk.length, len(hashes))
    texts = [text.encode() for text in _texts(version)]
    spelled = b"".join(_LENGTH.pack(len(text)) + text for text in texts)
    body = _FIXED.pack(*fixed) + spelled + struct.pack(f"<{len(hashes)}Q", *hashes)
    return body + _TAIL.pack(len(body), xxh3_64_intdigest(body), END_MAGIC)


def footer_bytes(end: bytes) -> int:
    """How long the footer is whose last bytes (at least ``TAIL_BYTES``) these are. Raises FooterDamaged."""
    if len(end) < TAIL_BYTES:
        raise FooterDamaged("too short for a tail")
    length, _, magic = _TAIL.unpack(end[-TAIL_BYTES:])
    if magic != END_MAGIC or not _FIXED.size <= length <= FOOTER_BYTES_MAX:
        raise FooterDamaged("no tail")
    return int(length) + TAIL_BYTES


def decode(footer: bytes, file_bytes: int) -> Footer:
    """The footer in exactly these bytes, the last of a file of ``file_bytes``. Raises FooterDamaged."""
    if footer_bytes(footer) != len(footer):
        raise FooterDamaged("other length than the tail says")
    body = footer[:-TAIL_BYTES]
    _, hashed, _ = _TAIL.unpack(footer[-TAIL_BYTES:])
    if xxh3_64_intdigest(body) != hashed:
        raise FooterDamaged("hash of the body")
    try:
        decoded = _decode_body(body)
    except (ValueError, struct.error) as error:
        raise FooterDamaged(f"body: {error}") from error
    if decoded.chunk.length + len(footer) != file_bytes:
        raise FooterDamaged("other size than the file")
    return decoded


def _texts(version: ObjectVersion) -> tuple[str, str, str, str, str]:
    return version.origin, version.bucket, version.key, version.etag, version.version_id


def _decode_body(body: bytes) -> Footer:
    magic, layout, size, chunk_bytes, index, length, units = _FIXED.unpack_from(body)
    if magic != MAGIC or layout != LAYOUT:
        raise FooterDamaged("magic or layout")
    at = _FIXED.size
    texts: list[str] = []
    for _ in range(5):
        (count,) = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size + count
        texts.append(body[at - count : at].decode())
    origin, bucket, key, etag, version_id = texts
    chunk = Chunk(ObjectVersion(origin, bucket, key, etag, size, version_id), chunk_bytes, index)
    if length != chunk.length or units != unit_count(length) or len(body) - at != 8 * units:
        raise FooterDamaged("lengths contradict each other")
    return Footer(chunk, struct.unpack_from(f"<{units}Q", body, at))
