"""Worker files read back: what a file says, and the sums over several of them.

:class:`Pages` is a view on one worker's memory as ``layout`` draws it, read word by word while the worker may be
writing. :class:`Sums` adds up workers: counters always, levels (connections, fills, requests in flight, lag) only
of those alive. The clients of a node are bounded like those of a worker: a :class:`Roster` gives each its place once,
and whoever comes too late is counted under ``other`` for good, so that no series ever shrinks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import add
from typing import Final, NamedTuple

from cache.tally import Count
from gateway.meter import layout

LEVELS: Final = frozenset({Count.FILLS_NOW, Count.CONNECTIONS_NOW, Count.LOOP_LAG_US_MAX})


class ClientKey(NamedTuple):
    """Who is metered."""

    client: str
    job: str
    rank: str


OTHER: Final = ClientKey("other", "", "")


@dataclass(slots=True)
class ClientCounts:
    """A client's words, in the order of ``layout``; ``target`` in bytes/s per GPU."""

    words: list[int] = field(default_factory=lambda: [0] * layout.CLIENT_WORDS)

    @property
    def gpus(self) -> int:
        """GPUs that the client feeds; 0 when it did not say."""
        return self.words[layout.GPUS]

    @property
    def target(self) -> int:
        """Bytes/s per GPU that it wants; 0 when it did not say."""
        return self.words[layout.TARGET]

    @property
    def body(self) -> list[int]:
        """Body bytes by source."""
        return self.words[layout.BODY : layout.HEAD]

    @property
    def stalls(self) -> list[int]:
        """Microseconds waited by cause."""
        return self.words[layout.STALLS : layout.STALLS + len(layout.CAUSES)]

    @property
    def moving(self) -> list[int]:
        """What rates and verdicts need: the words ``BODY`` to ``MOVING_STOP``."""
        return self.words[layout.BODY : layout.MOVING_STOP]

    @property
    def requests(self) -> int:
        """Requests answered."""
        return sum(self.words[layout.REQUESTS : layout.TIMES])

    def first_byte(self, source: int) -> tuple[list[int], int]:
        """Times to the first byte of one source: counts by bucket, and their sum in microseconds."""
        at = layout.TIMES + source * layout.TIMES_WORDS
        return self.words[at : at + layout.BUCKETS], self.words[at + 2 * layout.BUCKETS]

    def duration(self, source: int) -> tuple[list[int], int]:
        """As ``first_byte``, of whole answers."""
        at = layout.TIMES + source * layout.TIMES_WORDS
        return self.words[at + layout.BUCKETS : at + 2 * layout.BUCKETS], self.words[at + 2 * layout.BUCKETS + 1]

    def add(self, words: Sequence[int], *, alive: bool) -> None:
        """Add another worker's words of the same client; what it has in flight counts only while it lives."""
        mine = self.words
        gpus, target = words[layout.GPUS] or mine[layout.GPUS], words[layout.TARGET] or mine[layout.TARGET]
        in_flight = mine[layout.IN_FLIGHT] + (words[layout.IN_FLIGHT] if alive else 0)
        self.words = list(map(add, mine, words))
        self.words[: layout.BODY] = [0, gpus, target, in_flight]


class Pages:
    """One worker's memory. ``words`` has the format ``Q`` and ``layout.FILE_BYTES`` bytes."""

    __slots__ = ("_keys", "_words")

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self._keys: list[ClientKey] = []

    def ready(self) -> bool:
        """Whether its worker has finished the header, in the layout that we know."""
        return self._words[layout.HEAD_MAGIC] == layout.MAGIC and self._words[layout.HEAD_VERSION] == layout.VERSION

    def head(self) -> tuple[int, int, float]:
        """The worker's pid, its index, and its start in seconds of the wall clock."""
        words = self._words
        return words[layout.HEAD_PID], words[layout.HEAD_WORKER], words[layout.HEAD_STARTED_NS] / 1e9

    def tally(self) -> list[int]:
        """The tally's words, one per ``Count``."""
        return self._words[layout.HEAD_TALLY : layout.HEAD_TALLY + len(Count)].tolist()

    def keys(self) -> list[ClientKey]:
        """The clients, in the order of their pages. A label is read once: it never changes."""
        used = min(self._words[layout.HEAD_CLIENTS], layout.PAGES - 1)
        while len(self._keys) < used:
            page = (len(self._keys) + 1) * layout.PAGE_WORDS
            length = self._words[page + layout.LABEL_LENGTH]
            if not 0 < length <= layout.LABEL_BYTES_MAX:
                break
            label = page + layout.LABEL_OFFSET // 8
            raw = self._words[label : page + layout.PAGE_WORDS].tobytes()[:length]
            self._keys.append(ClientKey(*json.loads(raw)))
        return self._keys

    def moving(self) -> list[list[int]]:
        """The words ``BODY`` to ``MOVING_STOP`` of each client, in the order of ``keys``."""
        words, step, length = self._words, layout.PAGE_WORDS, layout.MOVING_STOP - layout.BODY
        starts = range(step + layout.BODY, (len(self._keys) + 1) * step, step)
        return [words[at : at + length].tolist() for at in starts]

    def client(self, position: int) -> list[int]:
        """The words of the client at ``position`` of ``keys``."""
        start = (position + 1) * layout.PAGE_WORDS
        return self._words[start : start + layout.CLIENT_WORDS].tolist()


class Roster:
    """Which client a key is counted under: itself, or ``OTHER`` when it came after the places were taken."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: set[ClientKey] = set()

    def place(self, key: ClientKey) -> ClientKey:
        """The same answer for the same key, always."""
        if key in self._known:
            return key
        if len(self._known) >= layout.CLIENTS_MAX:
            return OTHER
        self._known.add(key)
        return key


@dataclass(slots=True)
class Sums:
    """Counters of several workers together."""

    tally: list[int] = field(default_factory=lambda: [0] * len(Count))
    clients: dict[ClientKey, ClientCounts] = field(default_factory=dict)

    def copy(self) -> Sums:
        """Another one with the same counts."""
        return Sums(list(self.tally), {key: ClientCounts(list(counts.words)) for key, counts in self.clients.items()})

    def add(self, pages: Pages, roster: Roster, *, alive: bool) -> None:
        """Add a worker; of a dead one only what it counted, not its levels."""
        self.add_tally(pages.tally(), alive=alive)
        for position, key in enumerate(pages.keys()):
            place = roster.place(key)
            counts = self.clients.get(place)
            if counts is None:
                counts = self.clients[place] = ClientCounts()
            counts.add(pages.client(position), alive=alive)

    def include(self, other: Sums) -> None:
        """Add other sums, levels included; their clients already have their places."""
        self.add_tally(other.tally, alive=True)
        for key, counts in other.clients.items():
            self.clients.setdefault(key, ClientCounts()).add(counts.words, alive=True)

    def add_tally(self, words: Sequence[int], *, alive: bool) -> None:
        """Add a tally alone; the loop's lag is the largest, not a sum."""
        for count in Count:
            if count is Count.LOOP_LAG_US_MAX:
                self.tally[count] = max(self.tally[count], words[count] if alive else 0)
            elif alive or count not in LEVELS:
                self.tally[count] += words[count]

    def total(self) -> ClientCounts:
        """All clients as one. Its GPUs and target mean nothing."""
        everyone = ClientCounts()
        for counts in self.clients.values():
            everyone.add(counts.words, alive=True)
        return everyone
