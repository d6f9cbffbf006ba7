"""A server that says what the test wrote, byte for byte: for answers that no HTTP library would send.

One thread accepts, one more per connection reads requests (heads only) and sends the next script: bytes, or HANG_UP to
close at once. After its script ends with a byte string, a connection stays open unless HANG_UP follows. Connections
take the scripts in the order in which they are made: ``ScriptedServer([[b"HTTP/1.1 200 OK…"], [HANG_UP]])``.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Final, Self

HANG_UP: Final = b""


class ScriptedServer:
    """Listens on a port of 127.0.0.1; ``requests`` holds the heads that came, per connection."""

    def __init__(self, scripts: Sequence[Sequence[bytes]]) -> None:
        self._scripts = list(scripts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._accepters: list[threading.Thread] = []
        self._talkers: list[threading.Thread] = []
        self._links: list[socket.socket] = []
        self.requests: list[list[bytes]] = []

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._start(self._accepters, self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        for thread in [*self._accepters, *self._talkers]:
            thread.join(10)

    def closed(self, number: int) -> None:
        """Return once connection ``number``, whose script ends with HANG_UP, is closed on this side."""
        self._talkers[number].join(10)

    def _start(self, into: list[threading.Thread], work: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=work, args=given)
        into.append(thread)  # before it runs: a test may ask for it at once
        thread.start()

    def _accept(self) -> None:
        for script in self._scripts:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            self._links.append(link)
            self.requests.append([])
            self._start(self._talkers, self._talk, link, script, self.requests[-1])

    def _talk(self, link: socket.socket, script: Sequence[bytes], requests: list[bytes]) -> None:
        with suppress(OSError), link, link.makefile("rb") as lines:  # a client may leave at any time
            for answer in script:
                if answer == HANG_UP:
                    return
                head = b"".join(takewhile(lambda line: line not in {b"", b"\r\n"}, iter(lines.readline, None)))
                if not head:
                    return
                requests.append(head)
                link.sendall(answer)
            lines.read(1)  # until the client leaves
