"""The checksums of S3 uploads: computed while a body passes, compared before its last byte is let go.

Each algorithm of the S3 model has a row: how to start it and how many bytes its value has; on the wire the value is
base64 of the big-endian digest. A client sends it as a header (``x-amz-checksum-crc32``, ``Content-MD5``) or as a
trailer; x-amz-content-sha256 is hexadecimal and checked in the same pass. A value with ``-`` is a checksum of
checksums and proves nothing about these bytes. "Checking object integrity" of the Amazon S3 user guide.
"""

from __future__ import annotations

import binascii
import hashlib
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import xxhash
from awscrt import checksums as crt

from gateway.s3.errors import S3Error

Data = bytes | bytearray | memoryview
PREFIX: Final = "x-amz-checksum-"


class Running(Protocol):
    """A checksum in the making, as hashlib has it."""

    def update(self, data: Data, /) -> None:
        """Add bytes."""
        ...

    def digest(self) -> bytes:
        """The value of the bytes so far, big-endian."""
        ...


class _Crc:
    """A CRC as a running checksum."""

    __slots__ = ("_size", "_step", "_value")

    def __init__(self, step: Callable[[Data, int], int], size: int) -> None:
        self._step, self._size, self._value = step, size, 0

    def update(self, data: Data, /) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


ALGORITHMS: Final[Mapping[str, tuple[int, Callable[[], Running]]]] = {
    "crc32": (4, lambda: _Crc(zlib.crc32, 4)),
    "crc32c": (4, lambda: _Crc(crt.crc32c, 4)),
    "crc64nvme": (8, lambda: _Crc(crt.crc64nvme, 8)),
    "md5": (16, lambda: hashlib.md5(usedforsecurity=False)),
    "sha1": (20, lambda: hashlib.sha1(usedforsecurity=False)),
    "sha256": (32, hashlib.sha256),
    "sha512": (64, hashlib.sha512),
    "xxhash64": (8, xxhash.xxh64),
    "xxhash3": (8, xxhash.xxh3_64),
    "xxhash128": (16, xxhash.xxh3_128),
}


def algorithm_of(header: str) -> str:
    """The algorithm whose value a header or trailer of that lower-case name carries, or an empty string."""
    if header == "content-md5":
        return "md5"
    name = header.removeprefix(PREFIX)
    return name if name != header and name in ALGORITHMS else ""


def encoded_length(algorithm: str) -> int:
    """How many characters the base64 value of an algorithm has."""
    return -(-ALGORITHMS[algorithm][0] // 3) * 4


class BodyChecks:
    """The checksums that a client announced for one body, and their verdict.

    ``headers`` (lower-case names) hold what it sent ahead; ``trailers`` the names it will send after the body;
    ``payload_hash`` is the SHA-256 in hex of a HASHED payload. Raises S3Error InvalidDigest for an impossible value.
    """

    def __init__(self, headers: Mapping[str, str], trailers: tuple[str, ...] = (), payload_hash: str = "") -> None:
        self._expected = {name: _digest_of(name, value) for name, value in headers.items() if _checks(name, value)}
        late = {name for name in trailers if algorithm_of(name)}
        self._running = {name: ALGORITHMS[algorithm_of(name)][1]() for name in {*self._expected, *late}}
        self._payload_hash = payload_hash
        self._sha256 = hashlib.sha256() if payload_hash else None

    def update(self, data: Data) -> None:
        """Bytes of the body have passed."""
        for running in self._running.values():
            running.update(data)
        if self._sha256 is not None:
            self._sha256.update(data)

    def finish(self, trailers: Mapping[str, str] | None = None) -> None:
        """All bytes have passed, and so have the trailers. Raises S3Error BadDigest, XAmzContentSHA256Mismatch."""
        if self._sha256 is not None and self._sha256.hexdigest() != self._payload_hash:
            raise S3Error("XAmzContentSHA256Mismatch")
        late = {name: _digest_of(name, value) for name, value in (trailers or {}).items() if _checks(name, value)}
        for name, expected in {**self._expected, **late}.items():
            running = self._running.get(name)
            if running is not None and running.digest() != expected:
                raise S3Error("BadDigest", f"The {name} that you specified did not match what we received.")

    def values(self) -> dict[str, str]:
        """The computed values so far, base64, by header or trailer name."""
        return {name: b64encode(running.digest()).decode() for name, running in self._running.items()}


def _checks(name: str, value: str) -> bool:
    return bool(algorithm_of(name)) and "-" not in value


def _digest_of(name: str, value: str) -> bytes:
    try:
        digest = b64decode(value, validate=True)
    except binascii.Error as error:
        raise S3Error("InvalidDigest", f"Value for {name} header is invalid.") from error
    if len(digest) != ALGORITHMS[algorithm_of(name)][0]:
        raise S3Error("InvalidDigest", f"Value for {name} header is invalid.")
    return digest
