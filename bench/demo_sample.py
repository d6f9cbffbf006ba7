"""The demo's data: which real files it uploads, and how they become objects and tar shards.

A sample is some files below a directory: the largest ones until they have used their share, then small ones spread
evenly over the tree. Every file is uploaded twice, as an object of its own and as a member of a tar shard, and both
count against the limit. In a shard, file number 12 is the sample ``000012``: its bytes under ``bin``, its name under
``path``. What was uploaded is remembered as sizes and xxh3 digests, taken from the bytes that went out, so that nothing
that changes on disk afterwards is mistaken for a fault of the cache.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from xxhash import xxh3_128_digest

OBJECTS: Final = "objects/"
SHARDS: Final = "shards/"
SHARD_BYTES: Final = 32 << 20
SHARD_BYTES_MIN: Final = 1 << 20
SHARDS_WANTED: Final = 12
LARGE_SHARE: Final = 0.75
LARGE_FILES_SHARE: Final = 0.05
_BLOCK: Final = tarfile.BLOCKSIZE
_SKIPPED: Final = frozenset({"__pycache__", ".git"})


@dataclass(frozen=True, slots=True)
class SampleFile:
    """One file: where it is, what it is called below its root, its size in bytes when it was chosen."""

    path: Path
    name: str
    size: int

    @property
    def cost(self) -> int:
        """Bytes that it adds to the upload: as an object, and as two members of a shard."""
        return 2 * self.size + 5 * _BLOCK + len(self.name.encode())


@dataclass(slots=True)
class Manifest:
    """What was uploaded: size and digest by key, sizes of shards, digests of samples by their key in the shard."""

    objects: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    shards: dict[str, int] = field(default_factory=dict)
    samples: dict[str, bytes] = field(default_factory=dict)

    @property
    def object_bytes(self) -> int:
        """Bytes of all objects, shards not included."""
        return sum(size for size, _ in self.objects.values())

    @property
    def shard_bytes(self) -> int:
        """Bytes of all shards."""
        return sum(self.shards.values())


def find_files(root: Path) -> list[SampleFile]:
    """Every regular file below ``root`` that can be read, in order of name; no links, no byte code."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
                found.append(SampleFile(path, path.relative_to(root).as_posix(), path.stat().st_size))
    return sorted(found, key=lambda file: file.name)


def choose_files(files: Sequence[SampleFile], *, files_max: int, bytes_max: int) -> list[SampleFile]:
    """At most ``files_max`` of the files, at a cost of at most ``bytes_max``: large ones, then many small ones."""
    by_size = sorted(files, key=lambda file: (-file.size, file.name))
    large = _fitting(by_size, max(1, int(files_max * LARGE_FILES_SHARE)), int(bytes_max * LARGE_SHARE))
    taken = {file.name for file in large}
    others = [file for file in files if file.name not in taken]
    wanted = files_max - len(large)
    step = max(1, len(others) // wanted) if wanted else 1
    spread = [*others[::step], *(file for place, file in enumerate(others) if place % step)]
    small = _fitting(spread, wanted, bytes_max - sum(file.cost for file in large))
    return sorted([*large, *small], key=lambda file: file.name)


def _fitting(files: Sequence[SampleFile], files_max: int, bytes_max: int) -> list[SampleFile]:
    """The first files that fit; one that is too large is passed over."""
    fitting: list[SampleFile] = []
    left = bytes_max
    for file in files:
        if len(fitting) == files_max:
            break
        if file.cost <= left:
            fitting.append(file)
            left -= file.cost
    return fitting


def digest_of(data: bytes) -> bytes:
    """What a file's bytes are compared by."""
    return xxh3_128_digest(data)


def shard_bytes_for(files: Sequence[SampleFile]) -> int:
    """How large a shard of these files should be: there should be several, for the ranks to share."""
    return min(SHARD_BYTES, max(SHARD_BYTES_MIN, sum(file.size for file in files) // SHARDS_WANTED))


def group_shards(files: Sequence[SampleFile], shard_bytes: int) -> Iterator[list[tuple[int, SampleFile]]]:
    """The files, numbered, in runs of about ``shard_bytes``; never an empty run."""
    run: list[tuple[int, SampleFile]] = []
    size = 0
    for number, file in enumerate(files):
        if run and size + file.size > shard_bytes:
            yield run
            run, size = [], 0
        run.append((number, file))
        size += file.size
    if run:
        yield run


def build_shard(run: Sequence[tuple[int, SampleFile]]) -> tuple[bytes, dict[str, bytes]]:
    """A tar archive of the files, and the digest of each by its sample's key. Raises OSError."""
    out = io.BytesIO()
    digests: dict[str, bytes] = {}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number, file in run:
            data = file.path.read_bytes()
            digests[f"{number:06}"] = digest_of(data)
            _add(archive, f"{number:06}.bin", data)
            _add(archive, f"{number:06}.path", file.name.encode("utf-8", "surrogateescape"))
    return out.getvalue(), digests


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
