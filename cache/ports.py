"""What the cache needs of the world, as protocols of at most five methods, in the cache's own words.

Adapters implement them on the floors above (``store``, ``peers``, ``members``, ``gateway.upstream``), doubles in
``tests/doubles``. Every method raises faults of :mod:`cache.faults` and nothing else. No library type appears here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from cache.chunks import Chunk
from cache.versions import ByteSpan, Entry, ObjectRef, ObjectVersion
from cache.views import Owner, View

_T = TypeVar("_T")
Told = Callable[[Entry], None]
"""Called with the answer to a question in the moment in which it is there; raises nothing."""


class Run(Protocol):
    """Has work done in a thread, within the time that a disk may take. Raises DiskFailed, and what the work raises."""

    def __call__(self, work: Callable[..., _T], *arguments: object) -> Awaitable[_T]:
        """The work's result."""
        ...


@runtime_checkable
class Pouring(Protocol):
    """What a body may be able to do besides: go from upstream into a file without a way through the loop."""

    async def pour(self, into: Callable[[memoryview], None], run: Run) -> int:
        """Hand some of what is left to ``into``, in a thread of ``run``'s; how many bytes, 0: they must be iterated.

        Raises as iterating does, and what ``into`` and ``run`` raise.
        """
        ...


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a key holds, learnt from the answer that also brings its first bytes.

    ``body`` yields exactly as many as were asked for, or as there are; it raises as that of ``Origin.fetch``. When
    the version has no ``etag``, nothing can pin the bytes: they must not be used.
    """

    entry: Entry
    body: AsyncIterator[bytes | memoryview]


class Origin(Protocol):
    """The upstream, as the cache sees it."""

    async def head(self, ref: ObjectRef) -> Entry:
        """Ask upstream what ``ref`` holds now. The caller sets ``token`` and ``checked_at`` (both come back 0).

        Raises UpstreamRefused (404, 403, …), UpstreamUnreachable, UpstreamBusy, UpstreamBroken.
        """
        ...

    def fetch(
        self, version: ObjectVersion, span: ByteSpan
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes | memoryview]]:
        """One ranged GET with ``If-Match``. The iterator yields exactly ``span.length`` bytes, then ends.

        A body that is short, long, of another range or version raises instead of ending: VersionChanged,
        UpstreamBroken, UpstreamRefused, UpstreamUnreachable, UpstreamBusy. Leaving the context closes the exchange.
        """
        ...

    def begin(self, ref: ObjectRef, count: int, *, whole: bool) -> AbstractAsyncContextManager[Beginning]:
        """One GET that says what ``ref`` holds now, as ``head`` does, and brings its first ``count`` bytes.

        ``whole``: all is asked for and the rest dropped, so that the entry is not ``partial``. Raises as ``head`` (a
        refusal carries upstream's document); an empty object may be refused (416). Leaving ends the exchange.
        """
        ...


class ChunkReader(Protocol):
    """A chunk in the local store, or on its way into it. The file behind it holds the payload at offset 0.

    Whoever holds the reader may read the descriptor; it closes when the last holder lets the object go.
    """

    @property
    def fd(self) -> int:
        """A descriptor open for reading."""
        ...

    @property
    def length(self) -> int:
        """Payload bytes of the whole chunk."""
        ...

    async def reached(self, position: int) -> int:
        """Wait until bytes beyond ``position`` may be sent; the new bound: ``position < bound <= length``.

        What lies below the bound has arrived *and* is verified. Raises the fault that ended the fill, or DiskDamaged.
        """
        ...

    def ready(self, start: int, stop: int) -> bool:
        """Whether bytes [start, stop) may be sent at once: arrived, verified, and their pages in memory."""
        ...

    def unit_hash(self, unit: int) -> int:
        """The xxh3-64 of unit ``unit``; known once ``reached`` has passed its end."""
        ...


class GrowingFile(Protocol):
    """The reading side of a chunk file in the making. Nothing here blocks."""

    @property
    def fd(self) -> int:
        """A descriptor from which the appended bytes may be read at once."""
        ...

    @property
    def path(self) -> str:
        """The temporary file: another worker of the same node may open it to read along."""
        ...

    def unit_hash(self, unit: int) -> int:
        """The xxh3-64 of a unit whose last byte has been appended."""
        ...


class ChunkWriter(GrowingFile, Protocol):
    """A chunk file in the making. Its own methods block: call them in a thread, one at a time."""

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Add payload. Raises DiskFull or DiskFailed; then only ``abandon`` may follow."""
        ...

    def seal(self) -> ChunkReader:
        """Write the footer, make the chunk visible, return it. Raises DiskFault."""
        ...

    def abandon(self) -> None:
        """Drop the file. Never raises; may follow anything, also twice."""
        ...


class Store(Protocol):
    """The chunks on this node's disk, shared by its workers. Its methods are short system calls unless said."""

    def find(self, chunk: Chunk) -> ChunkReader | None:
        """The chunk, opened; None when the store has no whole copy. Never raises: a failing disk is a miss."""
        ...

    def find_ready(self, chunk: Chunk, span: ByteSpan) -> ChunkReader | None:
        """The chunk, if ``span`` of it may be sent at once: kept open, verified, in memory. Opens nothing; touches."""
        ...

    def take(self, chunk: Chunk) -> bytes | memoryview | None:
        """The payload of a chunk of one unit, verified by this very call, if it takes no waiting. Touches.

        Valid until the next ``take``: whoever cannot send it at once keeps a copy.
        """
        ...

    def create(self, chunk: Chunk) -> ChunkWriter:
        """Begin a chunk file (blocks: call it in a thread). Raises DiskFull, DiskFailed."""
        ...

    def touch(self, chunk: Chunk) -> None:
        """Tell the eviction policy that the chunk was read. A memory write, nothing more."""
        ...


class Catalog(Protocol):
    """What this node knows about keys, shared by its workers; a look-up costs microseconds."""

    def find(self, ref: ObjectRef) -> Entry | None:
        """The entry, unless there is none or an invalidation came after it was asked for."""
        ...

    def recall(self, ref: ObjectRef) -> ObjectVersion | None:
        """The version that the key held when somebody last asked, though that may count no longer: only a hint."""
        ...

    def put(self, ref: ObjectRef, entry: Entry) -> None:
        """Remember. An entry whose token is no longer current is dropped by the next ``find``."""
        ...

    def token(self, ref: ObjectRef) -> int:
        """The ref's invalidation token now: read it before you ask upstream."""
        ...

    def invalidate(self, refs: Sequence[ObjectRef]) -> None:
        """Whatever was known of these keys no longer counts, in any worker, once this returns."""
        ...


class PeerHost(Protocol):
    """What this worker does for a peer that asks. The peer server calls it."""

    async def look_up(self, ref: ObjectRef, *, checksums: bool, age_max_s: float) -> Entry:
        """As Peers.look_up: from the catalog, or from the one question to upstream, which begins the first chunk."""
        ...

    async def serve(self, chunk: Chunk, span: ByteSpan) -> ChunkReader:
        """The chunk from the store, or from the one fill that is (or now comes) under way.

        Only the units of ``span`` need ever be ready.
        """
        ...

    def invalidate(self, refs: Sequence[ObjectRef]) -> None:
        """As Catalog.invalidate."""
        ...

    def grant(self, node_id: str) -> float:
        """Renew the lease of a node that just asked; how long it holds, in seconds from the asking (0: refused)."""
        ...

    def status(self) -> bytes:
        """This node's status document (JSON), for ``forebay status`` of the whole cluster."""
        ...


class Passage(Protocol):
    """A way on for bytes that lie verified on the connection that they came by: to another socket, without a copy."""

    def move(self, target: int, count: int) -> int:
        """Move up to ``count`` bytes onto the socket ``target``, as many as it takes now; how many.

        What is left can only be sent from memory. Raises OSError for the target.
        """
        ...


class Relayed(Protocol):
    """Views of verified bytes, each valid until the next one is asked for.

    ``passage``: what the last view shows may also be moved on by this, from its beginning, at once. None: it only lies
    in memory.
    """

    @property
    def passage(self) -> Passage | None:
        """Of the last view."""
        ...

    def __aiter__(self) -> AsyncIterator[memoryview]: ...

    async def __anext__(self) -> memoryview: ...


class Peers(Protocol):
    """The other workers: of this node (their fills are read along) and of other nodes (their bytes are relayed)."""

    async def look_up(self, owner: Owner, ref: ObjectRef, *, checksums: bool, age_max_s: float) -> Entry:
        """What the key holds, from the worker that owns its first chunk and now has that chunk or fills it.

        ``checksums``: the entry must have those of the whole object. What ``owner`` knew when it was asked counts up
        to that age; ``checked_at`` comes back as minus the age, ``token`` as 0. Raises PeerUnreachable, PeerLied,
        PeerRefused, PeerPassedOn.
        """
        ...

    async def along(self, owner: Owner, chunk: Chunk) -> ChunkReader:
        """Same node, other worker: a reader on the file that the owning worker is filling (or has filled).

        Raises PeerUnreachable, PeerRefused, PeerPassedOn; so does the reader's ``reached`` later.
        """
        ...

    def relay(self, owner: Owner, chunk: Chunk, span: ByteSpan) -> AbstractAsyncContextManager[Relayed]:
        """Another node: exactly the span's bytes (relative to the chunk), each unit verified before it is yielded.

        Raises PeerUnreachable, PeerLied, PeerRefused, PeerPassedOn (upstream failed the owner).
        """
        ...

    async def invalidate(self, refs: Sequence[ObjectRef]) -> None:
        """Tell every other member; return when each has obeyed or can no longer hold an old entry (its lease is over).

        An unreachable member is waited for that long and no longer; it never raises.
        """
        ...

    def trusted(self) -> bool:
        """Whether this node may use its catalog without asking upstream: every other member's lease holds."""
        ...


class Members(Protocol):
    """Who is in the cluster. The first view comes at once."""

    def current(self) -> View:
        """The view in force."""
        ...

    def watch(self, changed: Callable[[View], None]) -> Callable[[], None]:
        """Call ``changed`` at every new view; the returned function ends that."""
        ...


class Clock(Protocol):
    """Time, so that rules can be tested without waiting."""

    def monotonic(self) -> float:
        """Seconds of the machine's monotonic clock, the same for every process on it."""
        ...
