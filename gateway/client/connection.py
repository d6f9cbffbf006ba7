"""One keep-alive connection to the gateway, blocking.

A connection carries one exchange at a time: :meth:`ask`, then the body by :meth:`receive_into` (straight into the
caller's memory) or :meth:`receive_all`. It is ``reusable`` only when the body has been taken to its end and both sides
mean to go on; whoever holds another one closes it. Everything that goes wrong on the wire is ConnectionLost, which says
whether a single byte of an answer had come, since an idle connection may have been closed by the other side in between.
Not thread-safe: the pool hands a connection to one thread.
"""

from __future__ import annotations

import io
import socket
import ssl
import weakref
from typing import Final

from gateway.client.endpoint import Gateway
from gateway.client.responses import BadAnswer, Head, parse_head

HEAD_BYTES_MAX: Final = 65536
RECEIVE_BYTES: Final = 65536


class ConnectionLost(Exception):
    """The exchange broke off. ``answered``: bytes of an answer had come before."""

    def __init__(self, message: str, *, answered: bool) -> None:
        super().__init__(message)
        self.answered = answered


class Connection:
    """A socket and what of the present exchange is still to come. ``used``: it has completed an exchange before."""

    def __init__(self, gateway: Gateway) -> None:
        """Connect. Raises ConnectionLost."""
        self.used = False
        self._rest = b""
        self._left: int | None = 0
        self._head = Head(0)
        try:
            self._socket = _connect(gateway)
        except (OSError, ssl.SSLError) as error:
            host, port = gateway.address
            raise ConnectionLost(f"cannot connect to {host}:{port}: {error}", answered=False) from error
        weakref.finalize(self, self._socket.close).atexit = False  # a reader that nobody closed leaks nothing

    @property
    def reusable(self) -> bool:
        """Whether the next request may go out on it."""
        return self._left == 0 and not self._rest and self._head.keeps_alive and self._head.status != 0

    def ask(self, request: bytes, *, bodiless: bool) -> Head:
        """Send a request, return the answer's head. ``bodiless``: it is a HEAD. Raises ConnectionLost."""
        self._head = Head(0)
        self._send(request)
        raw = self._receive_head()
        try:
            head = parse_head(raw)
            self._left = 0 if bodiless else head.length
        except BadAnswer as error:
            raise ConnectionLost(f"not an HTTP answer: {error}", answered=True) from error
        self._head = head
        self.used = True
        return head

    def receive_into(self, view: memoryview) -> None:
        """Fill ``view`` with the next bytes of a body of announced length. Raises ConnectionLost if it ends before."""
        if self._left is None or self._left < len(view):
            raise ConnectionLost(f"{len(view)} bytes asked, the body has {self._left}", answered=True)
        done = min(len(self._rest), len(view))
        view[:done] = self._rest[:done]
        self._rest = self._rest[done:]
        while done < len(view):
            count = self._receive(view[done:])
            if count == 0:
                missing = self._left - done
                raise ConnectionLost(f"body ended {missing} bytes early", answered=True)
            done += count
        self._left -= len(view)

    def receive_all(self, bytes_max: int) -> bytes:
        """The rest of the body, however it is framed. Raises ConnectionLost if it is cut or over ``bytes_max``."""
        if self._left is None:
            return self._receive_chunks(bytes_max) if self._head.chunked else self._receive_to_end(bytes_max)
        if self._left > bytes_max:
            raise ConnectionLost(f"body of {self._left} bytes, at most {bytes_max} expected", answered=True)
        body = blank(self._left)
        self.receive_into(body.getbuffer())
        return body.getvalue()

    def close(self) -> None:
        """Close the socket (this process's share of it: after a fork the parent's lives on)."""
        self._left = None
        self._socket.close()

    def _send(self, request: bytes) -> None:
        try:
            self._socket.sendall(request)
        except (OSError, ssl.SSLError) as error:
            raise ConnectionLost(f"cannot send: {error}", answered=False) from error

    def _receive(self, view: memoryview) -> int:
        try:
            return self._socket.recv_into(view)
        except (OSError, ssl.SSLError) as error:
            raise ConnectionLost(f"cannot receive: {error}", answered=True) from error

    def _receive_more(self) -> None:
        """Append what comes next to ``_rest``. Raises ConnectionLost at the end of the stream."""
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except (OSError, ssl.SSLError) as error:
            raise ConnectionLost(f"cannot receive: {error}", answered=bool(self._rest)) from error
        if not data:
            raise ConnectionLost("the other side hung up", answered=bool(self._rest))
        self._rest += data

    def _receive_head(self) -> bytes:
        """Bytes up to the empty line, of the first answer that is not a 1xx."""
        while True:
            raw = self._receive_until(b"\r\n\r\n")
            if not raw.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1")):
                return raw

    def _receive_until(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            if len(self._rest) > HEAD_BYTES_MAX:
                raise ConnectionLost("the answer's head is too long", answered=True)
            self._receive_more()
        raw, _, self._rest = self._rest.partition(mark)
        return raw

    def _receive_chunks(self, bytes_max: int) -> bytes:
        """A chunked body (RFC 9112, 7.1), trailers dropped."""
        body = bytearray()
        while size := self._chunk_size():
            if len(body) + size > bytes_max:
                raise ConnectionLost(f"body over {bytes_max} bytes", answered=True)
            chunk = bytearray(size + 2)
            self._left = size + 2
            self.receive_into(memoryview(chunk))
            self._left = None  # nothing is whole before the last chunk
            body += chunk[:-2]
        while self._receive_until(b"\r\n"):
            pass
        self._left = 0
        return bytes(body)

    def _chunk_size(self) -> int:
        line = self._receive_until(b"\r\n").partition(b";")[0].strip()
        try:
            return int(line, 16)
        except ValueError as error:
            raise ConnectionLost(f"chunk size {line[:20]!r}", answered=True) from error

    def _receive_to_end(self, bytes_max: int) -> bytes:
        """A body that ends with the connection; nobody can tell whether it is whole."""
        while len(self._rest) <= bytes_max:
            try:
                self._receive_more()
            except ConnectionLost:
                return self._rest
        raise ConnectionLost(f"body over {bytes_max} bytes", answered=True)


def blank(size: int) -> io.BytesIO:
    """``size`` bytes to be received into through ``getbuffer()`` and then taken by ``getvalue()``.

    No copy is made once the buffer has been let go of.
    """
    return io.BytesIO(bytes(size))


def _connect(gateway: Gateway) -> socket.socket:
    """A connected, timed socket; raises OSError."""
    link = socket.create_connection(gateway.address, timeout=gateway.connect_timeout_s)
    try:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if gateway.tls:
            link = ssl.create_default_context().wrap_socket(link, server_hostname=gateway.address[0])
        link.settimeout(gateway.read_timeout_s)
    except BaseException:
        link.close()
        raise
    return link
