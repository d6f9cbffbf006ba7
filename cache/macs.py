"""HMAC-SHA256 (RFC 2104) that begins from hashed states, so that a key is taken in once.

``hmac.digest`` looks its algorithm up at every call: 100 us where the processor's caches are cold, ten times as much as
the hash. No I/O.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, Protocol

BLOCK_BYTES: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


class HashState(Protocol):
    """What is hashed so far (of :mod:`hashlib`)."""

    def copy(self) -> HashState:
        """The same state, which goes on by itself."""
        ...

    def update(self, data: bytes, /) -> None:
        """Hash more."""
        ...

    def digest(self) -> bytes:
        """The hash of all so far."""
        ...

    def hexdigest(self) -> str:
        """The same in hex."""
        ...


class Mac:
    """The MAC of one key, and of whatever text went before."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, inner: HashState, outer: HashState) -> None:
        """The two states, after the inner and the outer key."""
        self._inner = inner
        self._outer = outer

    def after(self, text: bytes) -> Mac:
        """The MAC of whatever begins with ``text``, which need not be given again."""
        inner = self._inner.copy()
        inner.update(text)
        return Mac(inner, self._outer)

    def of(self, text: bytes) -> bytes:
        """The MAC, 32 bytes."""
        return self._hashed(text).digest()

    def hex_of(self, text: bytes) -> str:
        """The MAC in hex."""
        return self._hashed(text).hexdigest()

    def _hashed(self, text: bytes) -> HashState:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer


def mac_of(key: bytes) -> Mac:
    """That of a key of any length, with nothing before."""
    block = (key if len(key) <= BLOCK_BYTES else sha256(key).digest()).ljust(BLOCK_BYTES, b"\0")
    return Mac(sha256(block.translate(_INNER)), sha256(block.translate(_OUTER)))
