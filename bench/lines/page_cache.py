"""Memory as on a node that has run for a while: full of what was read, so that a page for new data is an old one.

The host of a virtual machine takes memory back that the machine has no use for (free page reporting), and gives it anew
page by page when it is touched: 2 s of system time for each GiB on some. A cache that was just started pays that for
every byte that it brings in; one that has read as much as the machine has memory never pays it again. Whoever wants to
know the second reads a file of holes first, which fills the page cache and costs no disk. A shell.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

FILL_BYTES_MAX: Final = 64 * 1024**3
FREE_SHARE: Final = 1 / 32  # of the memory: the kernel begins to reclaim a little below
_PIECE_BYTES: Final = 1024 * 1024
_FIELD: Final = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)


@contextmanager
def full_page_cache(path: Path, share: float = 1.0) -> Iterator[Callable[[], None]]:
    """Call what this yields before each measurement: hardly any memory is free afterwards (of the first 64 GiB).

    ``path``: the file of holes, which exists meanwhile. ``share``: of the memory that may be read at a call at most.
    """
    total = memory_bytes("MemTotal")
    size = int(share * min(total, FILL_BYTES_MAX))
    buffer, at = bytearray(_PIECE_BYTES), 0

    def fill() -> None:
        nonlocal at
        left = size
        while left > 0 and memory_bytes("MemFree") > total * FREE_SHARE:
            count = os.preadv(file, [buffer], at)
            at = at + count if count else 0
            left -= _PIECE_BYTES

    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(file, size)
        yield fill
    finally:
        os.close(file)
        path.unlink()


def memory_bytes(field: str) -> int:
    """A field of ``/proc/meminfo``, in bytes."""
    fields = dict(_FIELD.findall(Path("/proc/meminfo").read_text("ascii")))
    return int(fields[field]) * 1024
