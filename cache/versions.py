"""What the cache stores: versions of objects, and spans of their bytes.

An object version is immutable: origin, bucket, key, version id, ETag and size together. Whoever changes an object makes
another version. An :class:`ObjectRef` is only a question ("what does this key hold now?"); the catalog answers it with
an :class:`Entry`, which names a version. Spans are half-open; HTTP's inclusive ranges end in ``gateway/s3/ranges.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from typing_extensions import override
from xxhash import xxh3_64_intdigest, xxh3_128_digest


def _spelled(*fields: str) -> bytes:
    """The fields, each led by its length, so that no two lists of fields share a spelling."""
    raws = [text.encode() for text in fields]
    return b"".join([len(raw).to_bytes(4, "big") + raw for raw in raws])


class ObjectRef(NamedTuple):
    """A key as a client names it. ``version_id`` is empty when the current version is meant."""

    bucket: str
    key: str
    version_id: str = ""

    def slot(self, slots: int) -> int:
        """Which of ``slots`` invalidation slots covers this bucket and key (whatever the version id)."""
        return xxh3_64_intdigest(_spelled(self.bucket, self.key)) % slots

    def digest(self) -> bytes:
        """16 bytes that name this question in an index."""
        return xxh3_128_digest(_spelled(self.bucket, self.key, self.version_id))


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One immutable version of an object.

    ``origin`` names the upstream (its endpoint), so that a cache directory never serves another upstream's bytes.
    ``etag`` is upstream's, byte for byte, quotes included. ``version_id`` is what upstream reported, or empty.
    ``size`` is in bytes.
    """

    origin: str
    bucket: str
    key: str
    etag: str
    size: int
    version_id: str = ""
    identity: bytes = field(init=False, repr=False, compare=False)
    whole: ByteSpan | None = field(init=False, repr=False, compare=False)
    """All its bytes, if it has any."""

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"no such size: {self.size}")
        spelled = _spelled(self.origin, self.bucket, self.key, self.version_id, self.etag, str(self.size))
        object.__setattr__(self, "identity", xxh3_128_digest(spelled))
        object.__setattr__(self, "whole", ByteSpan(0, self.size) if self.size else None)

    @override
    def __hash__(self) -> int:
        return hash(self.identity)


@dataclass(frozen=True, slots=True)
class ByteSpan:
    """Bytes [start, stop) of one object version or one chunk; never empty."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"no such span: [{self.start}, {self.stop})")

    @property
    def length(self) -> int:
        """Bytes in the span."""
        return self.stop - self.start

    def chunk_indexes(self, chunk_bytes: int) -> range:
        """The chunks that the span touches."""
        return range(self.start // chunk_bytes, -(-self.stop // chunk_bytes))


@dataclass(frozen=True, slots=True)
class Entry:
    """What the catalog knows of a key: the version it holds, upstream's headers, and how old the knowledge is.

    ``headers`` are the end-to-end response headers of upstream's HEAD (lower-case names; no length, range, date or
    request id). ``checked_at`` is in seconds of the machine's monotonic clock. ``token`` is the invalidation token of
    the ref's slot *before* upstream was asked: the entry counts only while the slot still holds that token.
    ``partial``: they are those of an answer about a part, which may lack the checksums of the whole.
    """

    version: ObjectVersion
    headers: tuple[tuple[str, str], ...]
    checked_at: float
    token: int
    partial: bool = False

    def header(self, name: str) -> str:
        """The value of header ``name`` (lower case), or an empty string."""
        return next((value for key, value in self.headers if key == name), "")
