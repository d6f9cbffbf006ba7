"""Bodies that say what they are: a keyed, counter-based stream in which any 16 bytes name key, version and offset.

Byte ``o`` of (key, version) is byte ``o % 8`` of word ``o // 8``; a word is a bijective mix of ``seed + index``. Any 16
bytes therefore hold one whole word, and a word can be turned back into the place it stands at. About 1 GB/s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import numpy as np

_MULTIPLIER: Final = 0x9E3779B97F4A7C15
_SECOND: Final = 0xD6E8FEB86659FD93
_MASK: Final = 2**64 - 1


def _seed_of(key: str, version: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{version}:{key}".encode(), digest_size=8).digest(), "big")


def body_of(key: str, version: int, start: int, stop: int) -> bytes:
    """Bytes [start, stop) of the endless body of (key, version)."""
    if stop <= start:
        return b""
    first, last = start // 8, -(-stop // 8)
    words = np.arange(first, last, dtype=np.uint64)
    words += np.uint64(_seed_of(key, version))
    words *= np.uint64(_MULTIPLIER)
    words ^= words >> np.uint64(32)
    words *= np.uint64(_SECOND)
    words ^= words >> np.uint64(29)
    return words.view(np.uint8)[start - first * 8 : stop - first * 8].tobytes()


def _index_of(word: int, seed: int) -> int:
    """The index at which ``word`` stands in the stream of ``seed``."""
    word ^= word >> 29 ^ word >> 58
    word = word * pow(_SECOND, -1, 2**64) & _MASK
    word ^= word >> 32
    return (word * pow(_MULTIPLIER, -1, 2**64) - seed) & _MASK


def locate(piece: bytes, candidates: Iterable[tuple[str, int]], size_max: int = 2**44) -> tuple[str, int, int] | None:
    """(key, version, offset) of 16 bytes or more taken from a candidate's body; None: from no such body."""
    for key, version in candidates:
        seed = _seed_of(key, version)
        for lead in range(8):
            word = int.from_bytes(piece[lead : lead + 8], "little")
            offset = _index_of(word, seed) * 8 - lead
            if 0 <= offset < size_max and body_of(key, version, offset, offset + len(piece)) == piece:
                return key, version, offset
    return None
