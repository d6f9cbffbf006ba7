"""The peer server of one worker: answers other workers, over links that proved the cluster secret.

A connection greets, proves itself within a deadline and names its node, which must be of the view; then it asks one
thing at a time. Chunks come from ``PeerHost.serve`` and leave as verified units by ``sendfile``, as they arrive; while
nothing flows the asker hears ``Waiting``, so that it can tell a slow upstream from a dead owner. A fault is told in a
frame; one that would break a unit in the middle cuts the connection instead.

Bounds: connections (``CONNECTIONS_MAX``, of which ``STRANGERS_MAX`` not yet proven), chunks served at once
(``CHUNKS_MAX``; beyond it the asker is refused and turns elsewhere), bytes per frame, every wait. The server owns a
task per connection and awaits them all in ``close``. A reader that leaves ends its own wait, never a fill.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable
from typing import Any, Final, TypeVar, assert_never, cast

from cache.chunks import UNIT_BYTES, Chunk
from cache.faults import Fault, PeerFault, PeerRefused
from cache.peers import handshake
from cache.peers.blame import failed_of
from cache.peers.frames import (
    ANSWER_BYTES_MAX,
    HELLOS,
    PROTOCOL,
    REFS_MAX,
    REQUESTS,
    RUN_UNITS_MAX,
    AskChunk,
    AskLease,
    AskStatus,
    BadFrame,
    ClientHello,
    Filling,
    Found,
    Invalidate,
    Lease,
    LookUp,
    Obeyed,
    Progress,
    Request,
    Sealed,
    ServerHello,
    Status,
    Units,
    Waiting,
)
from cache.peers.leasing import Grants
from cache.peers.link import Link
from cache.ports import ChunkReader, Members, PeerHost
from cache.tally import Count, Tally
from cache.versions import ByteSpan, ObjectRef, ObjectVersion

CONNECTIONS_MAX: Final = 1024
STRANGERS_MAX: Final = 64
CHUNKS_MAX: Final = 512
HANDSHAKE_S: Final = 2.0
IDLE_S: Final = 120.0
WAITING_EVERY_S: Final = 0.5
SLICE_BYTES: Final = 1024 * 1024

_log: Final = logging.getLogger(__name__)
_T = TypeVar("_T")


class PeerServer:
    """See the theory. Raises ValueError for a short secret; ``waiting_every_s``: the sign of life."""

    def __init__(  # noqa: PLR0913 - what it works with, by name
        self,
        host: PeerHost,
        *,
        node_id: str,
        members: Members,
        secret: bytes,
        grants: Grants,
        tally: Tally,
        waiting_every_s: float = WAITING_EVERY_S,
    ) -> None:
        self._host = host
        self._node_id = node_id
        self._members = members
        self._secret = handshake.checked_secret(secret)
        self._grants = grants
        self._tally = tally
        self._waiting_every_s = waiting_every_s
        self._server: asyncio.Server | None = None
        self._talks: dict[Link, asyncio.Task[None]] = {}
        self._strangers = 0
        self._chunks = 0

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, sock: socket.socket | None = None) -> int:
        """Listen on ``sock``, or on host and port (0: any free one); the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        place: dict[str, Any] = {"host": host, "port": port} if sock is None else {"sock": sock}
        self._server = await loop.create_server(self._new_link, backlog=512, **place)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, cut every connection, wait until all is still."""
        if self._server is not None:
            self._server.close()
        talks = list(self._talks.items())
        for link, task in talks:
            task.cancel()
            link.abort()
        await asyncio.gather(*(task for _, task in talks), return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    def _new_link(self) -> Link:
        return Link(HELLOS, made=self._met, lost=self._left)

    def _met(self, link: Link) -> None:
        if len(self._talks) >= CONNECTIONS_MAX or self._strangers >= STRANGERS_MAX:
            link.abort()
            return
        task = self._talks[link] = asyncio.create_task(self._talk(link))
        task.add_done_callback(lambda task: self._ended(link, task))

    def _ended(self, link: Link, task: asyncio.Task[None]) -> None:
        self._talks.pop(link, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("peer connection failed", exc_info=error)

    def _left(self, link: Link) -> None:
        if (task := self._talks.get(link)) is not None:
            task.cancel()

    async def _talk(self, link: Link) -> None:
        """One connection, from greeting to end."""
        try:
            peer_id = await self._welcome(link)
            while True:
                await self._answer(link, peer_id, cast("Request", await link.next(IDLE_S)))
        except BadFrame as fault:
            _log.warning("peer connection refused: %s", fault)
        except PeerFault as fault:
            _log.debug("peer connection ended: %s", fault)
        finally:
            link.abort()

    async def _welcome(self, link: Link) -> str:
        self._strangers += 1
        hello = ServerHello(PROTOCOL, os.urandom(handshake.NONCE_BYTES))
        link.send(hello)
        try:
            answer = await link.next(HANDSHAKE_S)
        finally:
            self._strangers -= 1
        if not isinstance(answer, ClientHello):
            raise BadFrame("a handshake was expected")
        proof = handshake.judge_call(self._secret, hello, answer, self._node_id)
        if self._members.current().node(answer.node_id) is None:
            raise BadFrame(f"no member is called {answer.node_id!r}")
        link.send(proof)
        keys = handshake.keys_of(self._secret, hello, answer)
        link.frames.use_key(keys.from_caller)
        link.frames.expect(REQUESTS)
        link.writer.use_key(keys.to_caller)
        return answer.node_id

    async def _answer(self, link: Link, peer_id: str, request: Request) -> None:
        match request:
            case AskChunk():
                await self._answer_chunk(link, peer_id, request)
            case LookUp():
                await self._answer_look_up(link, request)
            case Invalidate():
                self._answer_invalidate(link, request)
            case AskLease():
                self._answer_lease(link, peer_id, request)
            case AskStatus():
                document = self._host.status()
                fits = len(document) < ANSWER_BYTES_MAX // 2
                link.send(Status(document) if fits else failed_of(PeerRefused("the document is too large")))
            case _:
                assert_never(request)

    def _answer_invalidate(self, link: Link, request: Invalidate) -> None:
        if len(request.refs) > REFS_MAX:
            raise BadFrame(f"{len(request.refs)} keys in one frame")
        self._host.invalidate([ObjectRef(*ref) for ref in request.refs])
        link.send(Obeyed())

    def _answer_lease(self, link: Link, peer_id: str, request: AskLease) -> None:
        """The host may refuse (0 seconds: it is draining); the table decides whether the asker must distrust first."""
        allowed_s = self._host.grant(peer_id)
        if allowed_s <= 0:
            link.send(Lease(0.0, request.standing))
            return
        seconds, standing = self._grants.asked(peer_id, request.standing)
        link.send(Lease(min(seconds, allowed_s), standing))

    async def _answer_look_up(self, link: Link, ask: LookUp) -> None:
        ref = ObjectRef(ask.bucket, ask.key, ask.version_id)
        found = self._host.look_up(ref, checksums=ask.checksums, age_max_s=ask.age_max_s)
        try:
            entry = await self._patiently(link, found)
        except Fault as fault:
            link.send(failed_of(fault))
            return
        version, age_s = entry.version, -entry.checked_at
        link.send(
            Found(version.origin, version.etag, version.size, version.version_id, entry.headers, age_s, entry.partial)
        )

    async def _answer_chunk(self, link: Link, peer_id: str, ask: AskChunk) -> None:
        chunk, span = _asked(ask)
        if ask.same_node and peer_id != self._node_id:
            raise BadFrame(f"node {peer_id!r} asks for a path on this one")
        if self._chunks >= CHUNKS_MAX:
            link.send(failed_of(PeerRefused(f"{CHUNKS_MAX} chunks are being served")))
            return
        self._chunks += 1
        try:
            reader = await self._patiently(link, self._host.serve(chunk, span))
            if ask.same_node:
                await self._report_progress(link, reader)
            else:
                await self._send_units(link, chunk, span, reader)
        except Fault as fault:
            _log.info("chunk %d of %s/%s not served to a peer: %s", ask.index, ask.bucket, ask.key, fault)
            link.send(failed_of(fault))
        finally:
            self._chunks -= 1

    async def _send_units(self, link: Link, chunk: Chunk, span: ByteSpan, reader: ChunkReader) -> None:
        """The units that the span touches, in runs of as many as are ready."""
        start = span.start // UNIT_BYTES * UNIT_BYTES
        end = min(-(-span.stop // UNIT_BYTES) * UNIT_BYTES, chunk.length)
        while start < end:
            stop = min(start + RUN_UNITS_MAX * UNIT_BYTES, end)
            if not reader.ready(start, stop):
                stop = await self._units_bound(link, reader, start, stop)
            await self._send_run(link, reader, ByteSpan(start, stop))
            start = stop

    async def _send_run(self, link: Link, reader: ChunkReader, ready: ByteSpan) -> None:
        """One run; a slow asker gets it in slices, each ready when it is sent. A fault cuts the link."""
        hashes = tuple(map(reader.unit_hash, ready.chunk_indexes(UNIT_BYTES)))
        run: Units | None = Units(ready.start // UNIT_BYTES, ready.length, hashes)
        start = ready.start
        while start < ready.stop:
            stop = min(start + SLICE_BYTES, ready.stop)
            try:
                if run is None and not reader.ready(start, stop):
                    stop = min(await reader.reached(start), stop)
            except BaseException:
                link.abort()
                raise
            await link.send_run(run, reader.fd, start, stop)
            self._tally.add(Count.PEER_BYTES_OUT, stop - start)
            run, start = None, stop

    async def _units_bound(self, link: Link, reader: ChunkReader, start: int, stop: int) -> int:
        """Wait for the unit at ``start``; how far the whole units reach that are ready then, at most to ``stop``."""
        wanted, bound = min(start + UNIT_BYTES, stop), start
        while bound < wanted:
            bound = await self._patiently(link, reader.reached(bound))
        return stop if bound >= stop else bound // UNIT_BYTES * UNIT_BYTES

    async def _report_progress(self, link: Link, reader: ChunkReader) -> None:
        """Where the file is, then every advance; the frames never pile up, each tells all there is."""
        path = getattr(reader, "path", "")
        if not path:
            link.send(Sealed())
            return
        link.send(Filling(path))
        bound = units = 0
        while bound < reader.length:
            bound = await self._patiently(link, reader.reached(bound))
            done = -(-bound // UNIT_BYTES) if bound == reader.length else bound // UNIT_BYTES
            link.send(Progress(bound, tuple(reader.unit_hash(unit) for unit in range(units, done))))
            units = done
            await link.drained()

    async def _patiently(self, link: Link, waited: Awaitable[_T]) -> _T:
        """What is waited for, with a sign of life whenever it takes long."""
        with _SignsOfLife(link, self._waiting_every_s):
            return await waited


class _SignsOfLife:
    """While entered, says ``Waiting`` at the loop's first turn and every so often; nobody else writes meanwhile."""

    __slots__ = ("_every_s", "_link", "_loop", "_timer")

    def __init__(self, link: Link, every_s: float) -> None:
        self._link, self._every_s = link, every_s
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> None:
        self._timer: asyncio.Handle = self._loop.call_soon(self._tick)

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _tick(self) -> None:
        if self._link.writable:  # else the asker has enough to read
            self._link.send(Waiting())
        self._timer = self._loop.call_later(self._every_s, self._tick)


def _asked(ask: AskChunk) -> tuple[Chunk, ByteSpan]:
    """The chunk and span of a question. Raises BadFrame when there is no such thing."""
    try:
        version = ObjectVersion(ask.origin, ask.bucket, ask.key, ask.etag, ask.size, ask.version_id)
        chunk, span = Chunk(version, ask.chunk_bytes, ask.index), ByteSpan(ask.start, ask.stop)
    except ValueError as error:
        raise BadFrame(str(error)) from error
    if span.stop > chunk.length:
        raise BadFrame(f"a span up to {span.stop} in a chunk of {chunk.length} bytes")
    return chunk, span
