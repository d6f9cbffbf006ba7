"""The upstream S3 service: signed requests over its wires, and the cache's ``Origin`` made of them.

Every request is spelled by us (no client library may normalise a key), signed with upstream's credentials, never
redirected and never decompressed. ``head`` and ``fetch`` have no body, so they are asked again, with jittered backoff
and out of a retry budget, while upstream is busy or hangs up before its first byte; after it, a broken body is a fault
and nothing else. ``send`` serves :mod:`gateway.forward`; what has a body is sent once.

An object whose HEAD names no usable ETag (none, empty, weak) or no length gets an entry with ``etag == ""``: nothing
can pin its bytes, so whoever reads must forward it. Who fills chunks and who caches is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Final, Self
from urllib.parse import SplitResult, urlsplit

from cache.faults import Fault, UpstreamBroken, UpstreamBusy, UpstreamFault, UpstreamUnreachable
from cache.ports import Beginning
from cache.tally import Count, Tally
from cache.versions import ByteSpan, Entry, ObjectRef, ObjectVersion
from gateway.asked import Begun, Said
from gateway.exchange import (
    Address,
    Body,
    Exchange,
    Outgoing,
    encode_head,
    judge_answer,
    judge_beginning,
)
from gateway.s3.canonical import encode_path
from gateway.s3.checksums import PREFIX
from gateway.s3.headers import entry_headers
from gateway.s3.sigv4 import Credentials, sign
from gateway.wires.answers import Data, Head, HungUp
from gateway.wires.pool import Wires

WAIT_MAX_S: Final = 2.0
FORWARD_TIMEOUT_MIN_S: Final = 60.0
_NO_BODY_EXPECTED: Final = frozenset({"GET", "HEAD"})
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "DELETE"})
_BUSY: Final = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Patience:
    """How much is asked of upstream at once, and how long it is waited for."""

    connections: int = 128
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 30.0
    retries: int = 3
    backoff_s: float = 0.1


class RetryBudget:
    """Retries are earned: ten requests earn one, at most ten wait to be spent. A storm adds 10 % and no more."""

    def __init__(self, *, requests_per_retry: int = 10, saved_max: int = 10) -> None:
        self._price, self._earned_max = requests_per_retry, requests_per_retry * saved_max
        self._earned = self._earned_max

    def earn(self) -> None:
        """A request begins."""
        self._earned = min(self._earned_max, self._earned + 1)

    def spend(self) -> bool:
        """Take one retry; False when none is left."""
        if self._earned < self._price:
            return False
        self._earned -= self._price
        return True


class Upstream:
    """The upstream, between ``async with``. Implements :class:`cache.ports.Origin`.

    Without explicit ``credentials``, aiobotocore finds (and refreshes) those of the usual AWS places; when there are
    none, requests go unsigned. ``credentials_from`` says which, once the context is entered.
    """

    def __init__(
        self,
        address: Address,
        tally: Tally,
        *,
        credentials: Credentials | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.address = address
        self.credentials_from = "settings" if credentials else ""
        self._tally, self._explicit, self._patience = tally, credentials, patience or Patience()
        self._found: Any = None
        self._budget = RetryBudget()
        self._unversioned: set[str] = set()
        self._wires: Wires | None = None
        self._forwards: Wires | None = None  # clients decide how long these take: no read waits for them

    # --- life

    async def __aenter__(self) -> Self:
        if self._explicit is None:
            await self._find_credentials()
        tls = tls_of(self.address)
        self._wires, self._forwards = self._open_wires(tls), self._open_wires(tls)
        return self

    def _open_wires(self, tls: ssl.SSLContext | None) -> Wires:
        return Wires(limit=self._patience.connections, connect_s=self._patience.connect_timeout_s, tls=tls)

    async def __aexit__(self, *_: object) -> None:
        for wires in (self._wires, self._forwards):
            if wires is not None:
                wires.close()

    async def _find_credentials(self) -> None:
        from aiobotocore.session import AioSession  # noqa: PLC0415 - half a second of imports that not all need

        self._found = await AioSession().get_credentials()
        self.credentials_from = f"aiobotocore: {self._found.method}" if self._found else "anonymous"

    async def _credentials(self) -> Credentials | None:
        if self._found is None:
            return None
        try:
            frozen = await self._found.get_frozen_credentials()
        except Exception as error:  # botocore raises dozens of unrelated types when a refresh fails
            raise UpstreamUnreachable(f"no fresh credentials: {type(error).__name__}") from error
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token or "")

    # --- the Origin

    async def head(self, ref: ObjectRef) -> Entry:
        """As Origin.head. An entry whose version has an empty ``etag`` must be neither kept nor fetched."""
        query = f"versionId={encode_path(ref.version_id)}" if ref.version_id else ""
        headers = {"x-amz-checksum-mode": "ENABLED"}
        tail = "/" + encode_path(ref.key)
        exchange = await self._ask(Outgoing("HEAD", ref.bucket, tail, query, headers, count=Count.UPSTREAM_HEADS))
        try:
            if exchange.status // 100 == 3:
                raise UpstreamBroken(f"upstream answered {exchange.status} to HEAD")
            if exchange.status != 200:
                raise await exchange.refusal()
            return self._entry(ref, exchange, exchange.length)
        finally:
            exchange.close()

    def begin(self, ref: ObjectRef, count: int, *, whole: bool) -> Begun:
        """As Origin.begin. An object that is whole within ``count`` bytes is held against its checksum, if any.

        The request is on its way when this returns, if a connection is at rest.
        """
        query = f"versionId={encode_path(ref.version_id)}" if ref.version_id else ""
        headers = {"x-amz-checksum-mode": "ENABLED"}
        if not whole:
            headers["range"] = f"bytes=0-{count - 1}"
        tail = "/" + encode_path(ref.key)
        outgoing = Outgoing("GET", ref.bucket, tail, query, headers, count=Count.UPSTREAM_GETS)
        return Begun(self._say(outgoing), partial(self._began, outgoing, ref, count))

    async def _began(
        self, outgoing: Outgoing, ref: ObjectRef, count: int, said: Said | None
    ) -> tuple[Exchange, Beginning]:
        exchange = await self._ask(outgoing, said)
        try:
            size, ranged = await judge_beginning(exchange, count)
            entry = self._entry(ref, exchange, size, part=count if ranged else None)
            length = min(count, entry.version.size)
            ends = ranged or length == entry.version.size
            return exchange, Beginning(entry, Body(exchange, length, whole=length == size, ends=ends))
        except BaseException:
            exchange.close()
            raise

    def _entry(self, ref: ObjectRef, exchange: Exchange, size: int | None, *, part: int | None = None) -> Entry:
        """What the answer says of the object. ``part``: it is about so many bytes, which may be all there are.

        A part's checksum is not the object's.
        """
        etag = exchange.header("etag")
        if size is None or etag.startswith("W/") or not etag.strip('" '):
            etag = ""
        version_id = exchange.header("x-amz-version-id") or ref.version_id
        version = ObjectVersion(self.address.origin, ref.bucket, ref.key, etag, size or 0, version_id)
        headers = entry_headers(exchange.headers)
        if part is None:
            return Entry(version, headers, 0.0, 0)
        others = tuple([pair for pair in headers if not pair[0].startswith(PREFIX)])
        if version.size <= part:
            return Entry(version, headers, 0.0, 0, partial=len(others) == len(headers))
        return Entry(version, others, 0.0, 0, partial=True)

    @contextlib.asynccontextmanager
    async def fetch(self, version: ObjectVersion, span: ByteSpan) -> AsyncIterator[AsyncIterator[Data]]:
        """As Origin.fetch. A whole object is also held against the checksum that upstream states for it, if any."""
        exchange = await self._ask_for(version, span)
        whole = span.length == version.size
        try:
            await judge_answer(exchange, version, span)
            yield Body(exchange, span.length, whole=whole)
        finally:
            exchange.close()

    async def _ask_for(self, version: ObjectVersion, span: ByteSpan) -> Exchange:
        """The ranged GET. An account without the right to name version ids is asked without one: If-Match pins it."""
        headers = {"if-match": version.etag, "range": f"bytes={span.start}-{span.stop - 1}"}
        if span.length == version.size:
            headers["x-amz-checksum-mode"] = "ENABLED"
        plain = Outgoing("GET", version.bucket, "/" + encode_path(version.key), "", headers, count=Count.UPSTREAM_GETS)
        if not version.version_id or version.bucket in self._unversioned:
            return await self._ask(plain)
        exchange = await self._ask(replace(plain, raw_query=f"versionId={encode_path(version.version_id)}"))
        if exchange.status != 403:
            return exchange
        exchange.close()
        without = await self._ask(plain)
        if without.status in {200, 206}:
            self._unversioned.add(version.bucket)
        return without

    async def _ask(self, outgoing: Outgoing, said: Said | None = None) -> Exchange:
        """As _exchange, but asked again while upstream is busy or hangs up. Raises UpstreamBusy in the end."""
        self._budget.earn()
        for attempt in range(self._patience.retries + 1):
            fault, asked_wait_s = await self._try(outgoing, said)
            said = None
            if isinstance(fault, Exchange):
                return fault
            last = attempt == self._patience.retries or asked_wait_s > WAIT_MAX_S
            if last or not self._budget.spend():
                raise fault
            backoff_s = min(WAIT_MAX_S, self._patience.backoff_s * 2**attempt)
            await asyncio.sleep(asked_wait_s + random.uniform(0.0, backoff_s))  # noqa: S311 - jitter, no secret
        raise AssertionError("unreachable")

    async def _try(self, outgoing: Outgoing, said: Said | None) -> tuple[Exchange | Fault, float]:
        """An answer, or a fault after which asking again may help, and the seconds that upstream wants to be left."""
        try:
            exchange = await self._exchange(outgoing, said)
        except HungUp as fault:
            return fault, 0.0
        if exchange.status not in _BUSY:
            return exchange, 0.0
        self._tally.add(Count.UPSTREAM_ERRORS)
        try:
            with contextlib.suppress(Fault):
                await exchange.document()
        finally:
            exchange.close()
        wait = exchange.header("retry-after")
        return UpstreamBusy(f"upstream answered {exchange.status}"), float(wait) if wait.isdecimal() else 0.0

    # --- the wire

    @contextlib.asynccontextmanager
    async def send(self, outgoing: Outgoing) -> AsyncIterator[Exchange]:
        """One request, sent once; the answer, whatever its status, once its head is there.

        Raises UpstreamUnreachable, UpstreamBroken. Leaving the context before the body's end closes the connection,
        and so ends a request whose body is still under way.
        """
        exchange = await self._exchange(outgoing)
        try:
            yield exchange
        finally:
            exchange.close()

    async def _exchange(self, outgoing: Outgoing, said: Said | None = None) -> Exchange:
        """The answer to a request. ``said``: it is on its way already."""
        if said is not None:
            answer = self._hear(outgoing, said, said.wire.hear())
        else:
            self._tally.add(outgoing.count)
            credentials = self._explicit or await self._credentials()
            answer = self._send(outgoing, *self._written(outgoing, credentials))
        try:
            return await answer
        except UpstreamFault:
            self._tally.add(Count.UPSTREAM_ERRORS)
            raise

    def _written(self, outgoing: Outgoing, credentials: Credentials | None) -> tuple[SplitResult, bytes]:
        """Where a request goes, and its head."""
        origin, raw_path = self.address.place(outgoing.bucket, outgoing.tail)
        place = urlsplit(origin)
        headers = self._sealed(outgoing, place.netloc, raw_path, credentials)
        target = f"{raw_path}?{outgoing.raw_query}" if outgoing.raw_query else raw_path
        return place, encode_head(outgoing.method, target, headers)

    def _say(self, outgoing: Outgoing) -> Said | None:
        """Send a read without a body at once; None: one has to wait for a connection, or for credentials."""
        wires = self._wires
        if wires is None or self._found is not None:
            return None
        place, head = self._written(outgoing, self._explicit)
        wire = wires.take_rested(place)
        if wire is None:
            return None
        said = Said(wires, place, wire, head)
        try:
            wire.say(head, to_head=outgoing.method == "HEAD", wait_s=self._patience.read_timeout_s)
        except HungUp:
            said.give()
            return None
        self._tally.add(outgoing.count)
        return said

    async def _send(self, outgoing: Outgoing, place: SplitResult, head: bytes, *, fresh: bool = False) -> Exchange:
        """A request on a wire of its own until the exchange is closed. ``fresh``: on one that had none before."""
        forward = outgoing.count is Count.UPSTREAM_FORWARDS
        wires, wait_s = (self._forwards if forward else self._wires), self._patience.read_timeout_s
        if wires is None:
            raise UpstreamUnreachable("the upstream is not open")
        if forward:
            wait_s = max(wait_s, FORWARD_TIMEOUT_MIN_S)
        wire = await wires.take(place, self._patience.connect_timeout_s + wait_s, fresh=fresh)
        chunked, to_head = outgoing.length is None, outgoing.method == "HEAD"
        asking = wire.ask(head, outgoing.body, chunked=chunked, to_head=to_head, wait_s=wait_s)
        return await self._hear(outgoing, Said(wires, place, wire, head), asking)

    async def _hear(self, outgoing: Outgoing, said: Said, asking: Coroutine[None, None, Head]) -> Exchange:
        """The answer that ``asking`` is about. A wire that rested may be closed meanwhile: then the request goes again.

        Not one that may have been heeded though, nor one with a body.
        """
        try:
            told = await asking
        except BaseException as error:
            said.give()
            closed_meanwhile = isinstance(error, HungUp) and said.wire.rested
            if not closed_meanwhile or outgoing.body is not None or outgoing.method not in _IDEMPOTENT:
                raise
        else:
            return Exchange(said.wire, told, said.give, self._tally)
        return await self._send(outgoing, said.place, said.head, fresh=True)

    def _sealed(self, outgoing: Outgoing, host: str, raw_path: str, credentials: Credentials | None) -> dict[str, str]:
        """The headers with host, length and signature."""
        headers = {"host": host, "accept-encoding": "identity", **outgoing.headers}
        if outgoing.body is not None and outgoing.length is not None:
            headers["content-length"] = str(outgoing.length)
        if credentials is not None:
            region, now = self.address.region, time.time()
            query, payload = outgoing.raw_query, outgoing.payload_hash
            headers |= sign(outgoing.method, raw_path, query, headers, payload, credentials, region, now)
        elif outgoing.payload_hash.startswith("STREAMING-"):
            headers["x-amz-content-sha256"] = outgoing.payload_hash
        if outgoing.body is not None and outgoing.length is None:
            headers["transfer-encoding"] = "chunked"
        elif outgoing.body is None and outgoing.method not in _NO_BODY_EXPECTED:
            headers["content-length"] = "0"
        return headers


@cache
def tls_of(address: Address) -> ssl.SSLContext | None:
    """The context that trusts what this machine trusts, if upstream speaks TLS; read once, for that takes a while."""
    return ssl.create_default_context() if address.origin.startswith("https:") else None
