"""Reading objects through a gateway: the plain interface under the data sets and the file system.

A :class:`Reader` may be used by many threads at once, survives a fork (the child opens its own connections), and can be
pickled (a worker process gets the gateway's address, not the sockets). What it returns is whole and of one version: a
body of the wrong length is read again and never handed out; a large object is read in parts over several connections,
each part with If-Match on the first one's ETag, and begun again if the object was replaced in between.

Parts are the size of the gateway's chunks and aligned to them. Two thread pools: callers of :meth:`Reader.read_many`
wait for parts, parts wait for nobody, so they must not share threads.
"""

from __future__ import annotations

import copyreg
import io
import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

from gateway.client.connection import Connection, ConnectionLost, blank
from gateway.client.endpoint import Gateway, find_gateway
from gateway.client.errors import ObjectChanged, RangeOutside
from gateway.client.listing import ObjectInfo, Page, list_request, parse_buckets, parse_page
from gateway.client.pool import ConnectionPool
from gateway.client.responses import BadAnswer, Head, Request
from gateway.client.stream import ObjectStream

PART_BYTES: Final = 8 << 20
PAGE_BYTES_MAX: Final = 64 << 20
RESTARTS: Final = 3

T = TypeVar("T")
A = TypeVar("A")


class Reader:
    """Reads through one gateway as one client. Use as a context manager, or :meth:`close` it."""

    def __init__(self, gateway: Gateway | None = None, *, part_bytes: int = PART_BYTES) -> None:
        """``gateway`` None: what the environment names. ``part_bytes``: how much one request asks for."""
        if part_bytes < 1:
            raise ValueError("part_bytes must be at least 1")
        self.gateway = gateway or find_gateway(os.environ)
        self.part_bytes = part_bytes
        self._pool = ConnectionPool(self.gateway)
        self._executors: dict[str, ThreadPoolExecutor] = {}
        _readers.add(self)

    def read(self, bucket: str, key: str, start: int = 0, stop: int | None = None, *, etag: str = "") -> bytes:
        """Bytes [start, stop) of the object; all from ``start`` without ``stop``; fewer where the object ends before.

        With ``etag`` only of that version, else of the current one, begun again if it is replaced meanwhile.
        Raises ObjectNotFound, AccessDenied, RangeOutside (``start`` beyond the end), ObjectChanged, GatewayError.
        """
        if etag:
            return self._read_once(bucket, key, start, stop, etag)
        return self._restarted(lambda: self._read_once(bucket, key, start, stop))

    def read_into(self, bucket: str, key: str, buffer: bytearray | memoryview, start: int = 0) -> int:
        """Fill ``buffer`` with the object's bytes from ``start`` on; returns how many there were.

        Bytes go from the socket into the buffer without a copy. After an exception its content means nothing.
        """
        view = memoryview(buffer).cast("B")
        if not view:
            return 0
        return self._restarted(lambda: self._read_into_once(bucket, key, view, start))

    def read_many(self, bucket: str, keys: Iterable[str]) -> list[bytes]:
        """Whole objects, read side by side, in the order of ``keys``. Raises what :meth:`read` raises."""
        return self.each(lambda key: self.read(bucket, key), keys)

    def each(self, work: Callable[[A], T], items: Iterable[A]) -> list[T]:
        """``work`` on every item, side by side; it may call this reader. Raises the first item's error."""
        executor = self._executor("objects")
        futures = [executor.submit(work, item) for item in items]
        return _results(futures)

    def head(self, bucket: str, key: str) -> ObjectInfo:
        """Size, ETag and Last-Modified of one object. Raises ObjectNotFound, AccessDenied, GatewayError."""
        head = self._pool.call(Request("HEAD", bucket, key), lambda _, head: head)
        return _info(key, head)

    def pages(self, bucket: str, prefix: str = "", *, delimiter: str = "", keys_max: int = 1000) -> Iterator[Page]:
        """The listing under ``prefix``, page by page. Raises ObjectNotFound, AccessDenied, GatewayError."""
        token = ""
        while True:
            request = list_request(bucket, prefix, delimiter=delimiter, token=token, keys_max=keys_max)
            page = parse_page(self._pool.call(request, lambda link, _: link.receive_all(PAGE_BYTES_MAX)))
            yield page
            if not page.token or page.token == token:
                return
            token = page.token

    def buckets(self) -> tuple[str, ...]:
        """The buckets that these credentials may list."""
        return parse_buckets(self._pool.call(Request("GET"), lambda link, _: link.receive_all(PAGE_BYTES_MAX)))

    def open(self, bucket: str, key: str, *, parts_ahead: int = 4) -> ObjectStream:
        """The object as a file, read ahead by ``parts_ahead`` parts over as many connections; seeks go forward only.

        At most ``parts_ahead + 2`` parts are in memory. Raises what :meth:`read` raises, here and while reading.
        """
        try:
            first, head = self._pool.call(_ranged(bucket, key, 0, self.part_bytes), _receiver(0, self.part_bytes))
            info = _info(key, head)
        except RangeOutside:
            first, info = self._nothing(bucket, key, 0), ObjectInfo(key, 0)

        def fetch(start: int) -> Future[bytes]:
            stop = min(start + self.part_bytes, info.size)
            return self._executor("parts").submit(self._read_part, bucket, key, start, stop, info.etag)

        return ObjectStream(first, info.size, fetch, parts_ahead=parts_ahead)

    def close(self) -> None:
        """Close idle connections and end the threads. The reader may be used again afterwards."""
        executors, self._executors = self._executors, {}
        for executor in executors.values():
            executor.shutdown(wait=True, cancel_futures=True)
        self._pool.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _executor(self, name: str) -> ThreadPoolExecutor:
        executor = self._executors.get(name)
        if executor is None:
            made = ThreadPoolExecutor(self.gateway.connections, thread_name_prefix=f"forebay-{name}")
            executor = self._executors.setdefault(name, made)  # atomic: a loser's pool has no threads yet
        return executor

    def _forget(self) -> None:
        """In a forked child: neither the parent's threads nor its sockets are ours."""
        self._executors = {}
        self._pool.forget()

    def _restarted(self, attempt: Callable[[], T]) -> T:
        """``attempt``, begun again when the object was replaced under it."""
        for _ in range(RESTARTS):
            try:
                return attempt()
            except ObjectChanged:
                continue
        return attempt()

    def _read_once(self, bucket: str, key: str, start: int, stop: int | None, etag: str = "") -> bytes:
        if stop is not None and stop <= start:
            return b""
        first_stop = start + self.part_bytes if stop is None else min(stop, start + self.part_bytes)

        def receive(link: Connection, head: Head) -> tuple[io.BytesIO, int, Head]:
            count = _body_length(head, start, first_stop - start)
            end = _size(head) if stop is None else min(stop, _size(head))
            whole = blank(end - start)
            link.receive_into(whole.getbuffer()[:count])
            return whole, count, head

        try:
            whole, done, head = self._pool.call(_ranged(bucket, key, start, first_stop, etag), receive)
        except RangeOutside:
            return self._nothing(bucket, key, start)
        with whole.getbuffer() as view:
            if done < len(view):
                self._read_parts(bucket, key, view, done, start, head)
        return whole.getvalue()

    def _read_into_once(self, bucket: str, key: str, view: memoryview, start: int) -> int:
        part = view[: self.part_bytes]

        def receive(link: Connection, head: Head) -> tuple[int, Head]:
            count = _body_length(head, start, len(part))
            link.receive_into(part[:count])
            return count, head

        try:
            first, head = self._pool.call(_ranged(bucket, key, start, start + len(part)), receive)
        except RangeOutside:
            return len(self._nothing(bucket, key, start))
        count = min(len(view), _size(head) - start)
        if first < count:
            self._read_parts(bucket, key, view[:count], first, start, head)
        return count

    def _nothing(self, bucket: str, key: str, start: int) -> bytes:
        """For a 416: no bytes are right for an object that is empty, an error for any other. Raises the 416 again."""
        if start == 0 and self.head(bucket, key).size == 0:
            return b""
        raise  # noqa: PLE0704  (called while the 416 is handled)

    def _read_parts(self, bucket: str, key: str, view: memoryview, done: int, start: int, head: Head) -> None:
        """Fill ``view[done:]``, which is the object from ``start + done`` on, with the version that ``head`` names."""
        etag = head.headers.get("etag", "")

        def fill(offset: int) -> None:
            part = view[offset : offset + self.part_bytes]
            begin = start + offset

            def receive(link: Connection, head: Head) -> None:
                _expect(_body_length(head, begin, len(part)), len(part))
                link.receive_into(part)

            self._pool.call(_ranged(bucket, key, begin, begin + len(part), etag), receive)

        executor = self._executor("parts")
        _results([executor.submit(fill, offset) for offset in range(done, len(view), self.part_bytes)])

    def _read_part(self, bucket: str, key: str, start: int, stop: int, etag: str) -> bytes:
        data, _ = self._pool.call(_ranged(bucket, key, start, stop, etag), _receiver(start, stop, exact=True))
        return data


_readers: weakref.WeakSet[Reader] = weakref.WeakSet()


def _forget_all() -> None:
    for reader in list(_readers):
        reader._forget()  # noqa: SLF001  (the module's own)


os.register_at_fork(after_in_child=_forget_all)


def _revive(gateway: Gateway, part_bytes: int) -> Reader:
    return Reader(gateway, part_bytes=part_bytes)


copyreg.pickle(Reader, lambda reader: (_revive, (reader.gateway, reader.part_bytes)))


def _results(futures: list[Future[T]]) -> list[T]:
    """All results; the first error once nobody writes any more, so that buffers and threads are free again."""
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()
        wait(futures)


def _ranged(bucket: str, key: str, start: int, stop: int, etag: str = "") -> Request:
    if start < 0:
        raise ValueError(f"start {start} is negative")
    headers = [("range", f"bytes={start}-{stop - 1}")]
    return Request("GET", bucket, key, headers=tuple(headers + [("if-match", etag)] * bool(etag)))


def _receiver(start: int, stop: int, *, exact: bool = False) -> Callable[[Connection, Head], tuple[bytes, Head]]:
    """Takes a body that answers a request for [start, stop); ``exact``: none shorter."""

    def receive(link: Connection, head: Head) -> tuple[bytes, Head]:
        count = _body_length(head, start, stop - start)
        if exact:
            _expect(count, stop - start)
        return link.receive_all(count), head

    return receive


def _body_length(head: Head, start: int, bytes_max: int) -> int:
    """How long the body of this answer is. Raises ConnectionLost for an answer to another question."""
    try:
        length, first, total = head.length, head.first, head.total
    except BadAnswer as error:
        raise ConnectionLost(str(error), answered=True) from error
    if length is None or total is None:
        raise ConnectionLost("an object's bytes without their length", answered=True)
    if first != start or length > bytes_max or length != min(bytes_max, total - start):
        raise ConnectionLost(f"{length} bytes from {first} of {total}, asked {bytes_max} from {start}", answered=True)
    return length


def _expect(count: int, wanted: int) -> None:
    if count != wanted:
        raise ConnectionLost(f"{count} bytes announced, {wanted} asked", answered=True)


def _size(head: Head) -> int:
    return head.total or 0


def _info(key: str, head: Head) -> ObjectInfo:
    return ObjectInfo(key, _size(head), head.headers.get("etag", ""), head.headers.get("last-modified", ""))
