"""The layout of a worker's meter file, and the fixed tables by which requests and times are sorted into words.

A file is pages of 4 KiB. Page 0 is the header: who wrote it, then the tally's words. Each page after it is one client:
unsigned 64-bit words in the machine's byte order, then its labels as JSON. A word is written by one process and one
thread only, always as a whole aligned word, so that a reader in another process sees an old value or a new one, never a
torn one. Words only grow, but for the levels (in flight; the tally's own).

Times are sorted into buckets that double from 64 µs on: bucket ``k`` holds what took less than ``BOUNDS_S[k]`` seconds,
the last one everything longer. ``counters`` writes this layout, ``readings`` reads it. A change of the layout changes
``VERSION``; a reader passes over files of another version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cache.pieces import Cause, Source

MAGIC: Final = int.from_bytes(b"FBYMETER", "little")
VERSION: Final = 1
PAGE_BYTES: Final = 4096
PAGE_WORDS: Final = PAGE_BYTES // 8
CLIENTS_MAX: Final = 1000
PAGES: Final = 1 + CLIENTS_MAX + 1  # the header, the clients, and one page for all others
FILE_BYTES: Final = PAGES * PAGE_BYTES

# Words of the header.
HEAD_MAGIC: Final = 0
HEAD_VERSION: Final = 1
HEAD_PID: Final = 2
HEAD_WORKER: Final = 3
HEAD_STARTED_NS: Final = 4  # wall clock
HEAD_CLIENTS: Final = 5  # pages in use
HEAD_TALLY: Final = 64
TALLY_WORDS: Final = 64

SOURCES: Final = tuple(source.name.lower() for source in Source)
CAUSES: Final = tuple(cause.name.lower() for cause in Cause)
GROUPS: Final = ("GetObject", "HeadObject", "read", "list", "write", "delete", "multipart", "other")
CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")

# Words of a client's page.
LABEL_LENGTH: Final = 0  # bytes of JSON at LABEL_OFFSET; 0: not ready
GPUS: Final = 1
TARGET: Final = 2  # bytes/s per GPU
IN_FLIGHT: Final = 3
BODY: Final = 4
HEAD: Final = BODY + len(SOURCES)
STALLS: Final = HEAD + 1  # microseconds
MOVING_STOP: Final = STALLS + len(CAUSES)  # [BODY, MOVING_STOP): what is looked at several times a second
REQUESTS: Final = 16
TIMES: Final = REQUESTS + len(GROUPS) * len(CLASSES) * len(SOURCES)
BUCKETS: Final = 23
# Per source: the buckets of the time to the first byte, those of the whole answer, then the two sums in microseconds.
TIMES_WORDS: Final = 2 * BUCKETS + 2
CLIENT_WORDS: Final = TIMES + len(SOURCES) * TIMES_WORDS
LABEL_OFFSET: Final = CLIENT_WORDS * 8
LABEL_BYTES_MAX: Final = PAGE_BYTES - LABEL_OFFSET
LABEL_CHARS_MAX: Final = 60  # of each label; three of them fit as JSON, whatever they hold

BUCKET_SHIFT: Final = 6
BOUNDS_S: Final = tuple((1 << (BUCKET_SHIFT + k)) / 1e6 for k in range(BUCKETS - 1))

_STEP: Final = len(CLASSES) * len(SOURCES)
OPERATION_NAMES_MAX: Final = 512

# The first rule whose word is in the operation's name decides; GetObject and HeadObject are named exactly.
_GROUP_RULES: Final[Mapping[str, str]] = {
    "Multipart": "multipart",
    "UploadPart": "multipart",
    "ListParts": "multipart",
    "List": "list",
    "Delete": "delete",
    "Put": "write",
    "Copy": "write",
    "Create": "write",
    "Post": "write",
    "Get": "read",
    "Head": "read",
    "Select": "read",
}


def group_of(operation: str) -> str:
    """The group of an operation's name, one of ``GROUPS``; a name that no rule knows is ``other``."""
    if operation in GROUPS[:2]:
        return operation
    return next((group for word, group in _GROUP_RULES.items() if word in operation), "other")


class OperationRows(dict[str, int]):
    """Operation name → the word at which its group's class 0xx would begin. Fills itself, bounded.

    The word of a request is this, plus its status class (1 to 5) times the number of sources, plus its source.
    """

    def __missing__(self, operation: str) -> int:
        row = REQUESTS + GROUPS.index(group_of(operation)) * _STEP - len(SOURCES)
        if len(self) < OPERATION_NAMES_MAX:
            self[operation] = row
        return row


def _request_cells() -> list[tuple[int, str, str, str]]:
    """Every request word: (word, group, status class, source)."""
    return [
        (REQUESTS + g * _STEP + c * len(SOURCES) + s, group, code, source)
        for g, group in enumerate(GROUPS)
        for c, code in enumerate(CLASSES)
        for s, source in enumerate(SOURCES)
    ]


REQUEST_CELLS: Final = tuple(_request_cells())  # every request word: (word, group, status class, source)
