"""Opening, reading and removing chunk files by path, for the store, recovery and the scrub alike.

What may lie under a chunk's name: a chunk file, or anything that somebody put there. So a path is opened without
following a link and without waiting for a FIFO's writer, only a regular file is read, and what its footer says is
compared with what was expected. A file is removed only while its name still leads to the very file that was judged,
since another process may have replaced it. A directory cannot be unlinked: it is moved into ``filling/``, which the
node process empties when it starts.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Final

from xxhash import xxh3_64_intdigest

from cache.chunks import UNIT_BYTES
from cache.store.footer import Footer, FooterDamaged, decode, footer_bytes
from cache.store.places import Places
from cache.store.stored import OpenFile

FIRST_READ_BYTES: Final = 4096
OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_chunk_file(path: str) -> OpenFile:
    """Open what lies under ``path``, be it what it may. Readahead is off. Raises OSError."""
    file = OpenFile(os.open(path, OPEN_FLAGS))
    with contextlib.suppress(OSError):  # a FIFO has no pages
        os.posix_fadvise(file.fd, 0, 0, os.POSIX_FADV_RANDOM)
    return file


def read_footer(file: OpenFile) -> Footer:
    """The footer of an open file, in one or two reads. Raises FooterDamaged, OSError."""
    status = os.fstat(file.fd)
    size = status.st_size
    if not stat.S_ISREG(status.st_mode):
        raise FooterDamaged("not a regular file")
    end = os.pread(file.fd, FIRST_READ_BYTES, max(0, size - FIRST_READ_BYTES))
    need = footer_bytes(end)
    if need > size:
        raise FooterDamaged("longer than the file")
    footer = end[-need:] if need <= len(end) else os.pread(file.fd, need, size - need)
    return decode(footer, size)


def damaged_unit(file: OpenFile, footer: Footer) -> int | None:
    """The first unit of the payload that does not match its hash, or None. Reads all of it. Raises OSError."""
    length = footer.chunk.length
    for unit, expected in enumerate(footer.hashes):
        start = unit * UNIT_BYTES
        if xxh3_64_intdigest(os.pread(file.fd, min(UNIT_BYTES, length - start), start)) != expected:
            return unit
    return None


def remove_judged(places: Places, path: str, file: OpenFile | None) -> bool:
    """Remove what lies under ``path`` if it is still ``file`` (None: whatever it is); whether it was removed."""
    try:
        named = os.lstat(path)
        if file is not None and not os.path.samestat(named, os.fstat(file.fd)):
            return False
        if stat.S_ISDIR(named.st_mode):
            os.rename(path, f"{places.filling}/{os.path.basename(path)}.{os.getpid()}.{named.st_ino}")
        else:
            os.unlink(path)
    except OSError:
        return False
    return True
