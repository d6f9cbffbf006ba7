"""Chunks, bodies and stores for the tests of the store."""

from __future__ import annotations

import os
import random
from pathlib import Path

from cache.chunks import CHUNK_BYTES_DEFAULT, Chunk
from cache.store.files import FileStore
from cache.store.places import Places
from cache.store.stored import StoredChunk
from cache.tally import Tally
from cache.versions import Entry, ObjectRef, ObjectVersion

QUOTA_BYTES = 256 << 20


def chunk_of(number: int = 0, size: int = 1000, *, chunk_bytes: int = CHUNK_BYTES_DEFAULT, index: int = 0) -> Chunk:
    version = ObjectVersion("http://upstream:9000", "bucket", f"dir/key ä {number}", f'"etag-{number}"', size, "v1")
    return Chunk(version, chunk_bytes, index)


def body_of(chunk: Chunk) -> bytes:
    return random.Random(chunk.id).randbytes(chunk.length)


def store_in(directory: Path, **options: object) -> FileStore:
    given: dict[str, object] = {"quota_bytes": QUOTA_BYTES, "tally": Tally(), **options}
    return FileStore(directory, **given)  # type: ignore[arg-type]  # tests pass any of the options


def fill(store: FileStore, chunk: Chunk) -> StoredChunk:
    writer = store.create(chunk)
    writer.append(body_of(chunk))
    return writer.seal()


def path_of(directory: Path, chunk: Chunk) -> Path:
    return Path(Places(directory).chunk(chunk.id))


def flip(path: Path, bit: int) -> None:
    """Turn one bit over, in place."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ (1 << bit % 8)]))


async def read_all(reader: StoredChunk) -> bytes:
    """The payload as a sender would send it: never beyond what was reached."""
    sent = b""
    while len(sent) < reader.length:
        bound = await reader.reached(len(sent))
        assert len(sent) < bound <= reader.length
        sent += os.pread(reader.fd, bound - len(sent), len(sent))
    return sent


def entry_of(ref: ObjectRef, *, token: int = 0, etag: str = '"e"', checked_at: float = 1.5) -> Entry:
    version = ObjectVersion("http://upstream:9000", ref.bucket, ref.key, etag, 7, ref.version_id)
    return Entry(version, (("content-type", "text/plain"), ("x-amz-meta-ä", "ö")), checked_at, token)
