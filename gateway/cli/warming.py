"""``forebay warm``: list a prefix through the gateway and read every object, throwing the bytes away.

It is an ordinary S3 client of the gateway (ListObjectsV2 pages, then GETs, signed like anyone's), so it needs no
extra and warms exactly what later readers will hit. One task lists into a bounded queue, ``concurrency`` tasks read.
A read that fails in a way that may pass (5xx, a broken connection) is tried again; what still fails is counted, the
first failure is named, and the exit code is 1.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote_plus, urlsplit
from xml.etree.ElementTree import Element, ParseError

import aiohttp
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from yarl import URL

from gateway.cli.ends import EXIT_FAILED, Failed
from gateway.identities import IdentitiesError, load_identities
from gateway.quantities import render_bytes, render_rate
from gateway.s3.sigv4 import Credentials, sign
from gateway.sources import BadSetting, load_settings

_ATTEMPTS: Final = 4
_FIRST_PAUSE_S: Final = 0.2
_LIST_PAGE_BYTES_MAX: Final = 16 << 20
_EMPTY_SHA256: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120)


@dataclass(frozen=True, slots=True)
class Source:
    """What to read: every key of ``bucket`` that begins with ``prefix``."""

    bucket: str
    prefix: str


def parse_source(text: str) -> Source:
    """The source that ``s3://bucket/prefix`` names. Raises BadSetting."""
    bucket, _, prefix = text.removeprefix("s3://").partition("/")
    if not text.startswith("s3://") or not bucket:
        raise BadSetting("warm", f"{text!r} names no bucket", "write s3://bucket or s3://bucket/prefix")
    return Source(bucket, prefix)


def parse_endpoint(text: str) -> str:
    """The gateway's URL without its trailing slash. Raises BadSetting."""
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname or url.path.strip("/"):
        raise BadSetting("--endpoint", f"{text!r} is no S3 endpoint", "write http(s)://host[:port]")
    return text.rstrip("/")


def find_keys(environment: Mapping[str, str], access_key: str | None, config: Path | None) -> Credentials:
    """The keys to sign with: the environment's, else those of this machine's node. Raises BadSetting."""
    named = access_key or environment.get("AWS_ACCESS_KEY_ID", "")
    secret = environment.get("AWS_SECRET_ACCESS_KEY", "")
    if named and secret:
        return Credentials(named, secret, environment.get("AWS_SESSION_TOKEN", ""))
    path = load_settings(config, environment=environment).identities.file
    try:
        identities = load_identities(path)
    except IdentitiesError as error:
        fix = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys of the gateway"
        raise BadSetting("warm", f"no keys in the environment, and {error}", fix) from error
    found = identities.find(named) if named else identities.all()[0]
    if found is not None:
        return Credentials(found.access_key, found.secret_key, found.session_token)
    raise BadSetting("--access-key", f"{named} is not in {path}", "set AWS_SECRET_ACCESS_KEY to its secret")


def run(source: Source, endpoint: str, keys: Credentials, concurrency: int) -> int:
    """Warm ``source`` and print one line about it; 1 if an object could not be read. Raises Failed."""
    started = time.monotonic()
    console = Console(stderr=True)
    columns = (TextColumn("warm"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        reader = Warming(endpoint, keys, progress)
        asyncio.run(reader.warm(source, concurrency))
    seconds = max(time.monotonic() - started, 1e-6)
    sys.stdout.write(reader.summary(seconds) + "\n")
    return EXIT_FAILED if reader.failed else 0


@dataclass(slots=True)
class Warming:
    """One pass over a prefix, and what came of it: objects and bytes read, failures and the first one's words."""

    endpoint: str
    keys: Credentials
    progress: Progress
    objects: int = 0
    received: int = 0
    failed: int = 0
    first_failure: str = ""
    _listed: int = field(default=0, init=False)

    async def warm(self, source: Source, concurrency: int) -> None:
        """List and read everything. Raises Failed when the list itself cannot be had."""
        task = self.progress.add_task("warm", total=None)
        queue: asyncio.Queue[tuple[str, int] | None] = asyncio.Queue(maxsize=4 * concurrency)
        connector = aiohttp.TCPConnector(limit=concurrency + 1)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, auto_decompress=False) as session,
                asyncio.TaskGroup() as group,
            ):
                for _ in range(concurrency):
                    group.create_task(self._read_all(session, source.bucket, queue))
                async for key, size in self._keys_of(session, source):
                    self._listed += size
                    self.progress.update(task, total=self._listed, completed=self.received)
                    await queue.put((key, size))
                for _ in range(concurrency):
                    await queue.put(None)
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from group_error

    def summary(self, seconds: float) -> str:
        """What was done, in one line."""
        rate = render_rate(self.received / seconds)
        text = f"warm: {self.objects} objects, {render_bytes(self.received)} in {seconds:.1f} s ({rate})"
        return f"{text}; {self.failed} failed, the first: {self.first_failure}" if self.failed else text

    async def _keys_of(self, session: aiohttp.ClientSession, source: Source) -> AsyncIterator[tuple[str, int]]:
        token = ""
        while True:
            query = {"encoding-type": "url", "list-type": "2", "prefix": source.prefix}
            query |= {"continuation-token": token} if token else {}
            page = await self._list_page(session, source.bucket, query)
            for item in page.iterfind("{*}Contents"):
                yield unquote_plus(item.findtext("{*}Key", "")), int(item.findtext("{*}Size", "0"))
            token = page.findtext("{*}NextContinuationToken", "")
            if page.findtext("{*}IsTruncated", "") != "true" or not token:
                return

    async def _list_page(self, session: aiohttp.ClientSession, bucket: str, query: Mapping[str, str]) -> Element:
        try:
            async with self._request(session, f"/{bucket}", query) as response:
                body = await response.content.read(_LIST_PAGE_BYTES_MAX)
                while not response.content.at_eof() and len(body) < _LIST_PAGE_BYTES_MAX:
                    body += await response.content.read(_LIST_PAGE_BYTES_MAX - len(body))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Failed(f"{self.endpoint} cannot be reached: {error}") from error
        if response.status != 200:
            raise Failed(f"listing {bucket} failed: {_reason(response.status, body)}")
        return _parsed(body)

    async def _read_all(
        self, session: aiohttp.ClientSession, bucket: str, queue: asyncio.Queue[tuple[str, int] | None]
    ) -> None:
        while (item := await queue.get()) is not None:
            reason = await self._read(session, f"/{bucket}/{quote(item[0], safe='/-_.~')}")
            if reason:
                self.failed += 1
                self.first_failure = self.first_failure or f"{item[0]}: {reason}"
            else:
                self.objects += 1

    async def _read(self, session: aiohttp.ClientSession, path: str) -> str:
        """Read one object, in a few attempts; why it could not be read, or an empty string."""
        reason = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_FIRST_PAUSE_S * 2**attempt)
            try:
                async with self._request(session, path, {}) as response:
                    if response.status == 200:
                        await self._discard(response)
                        return ""
                    reason = _reason(response.status, await response.content.read(1 << 16))
                    if response.status < 500:
                        return reason
            except (aiohttp.ClientError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
        return reason

    async def _discard(self, response: aiohttp.ClientResponse) -> None:
        task = self.progress.task_ids[0]
        async for data in response.content.iter_any():
            self.received += len(data)
            self.progress.update(task, completed=self.received)

    def _request(
        self, session: aiohttp.ClientSession, path: str, query: Mapping[str, str]
    ) -> aiohttp.client._RequestContextManager:
        raw_query = "&".join(f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query))
        url = URL(self.endpoint + path + (f"?{raw_query}" if raw_query else ""), encoded=True)
        headers = {"host": urlsplit(self.endpoint).netloc}
        headers |= sign("GET", path, raw_query, headers, _EMPTY_SHA256, self.keys, "us-east-1", time.time())
        return session.get(url, headers=headers)


def _parsed(body: bytes) -> Element:
    try:
        document: Element = fromstring(body)
    except (ParseError, DefusedXmlException) as error:
        raise Failed(f"the answer is no S3 document: {error}") from error
    return document


def _reason(status: int, body: bytes) -> str:
    try:
        code = _parsed(body).findtext("{*}Code") or ""
    except Failed:
        code = ""
    return f"{status} {code}".rstrip()
