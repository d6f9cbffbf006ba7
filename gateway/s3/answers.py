"""An answer to an S3 request, before anybody has rendered or sent it.

``reads`` and ``forward`` make answers, ``gateway/http`` sends them. ``headers`` are end-to-end ones, in the order in
which they go out; Date, Connection, Content-Length or Transfer-Encoding, and the request ids are added when the head
is rendered. ``length`` is the body's exact length in bytes (of a HEAD's answer too); None means that it is not known
(the body then goes out chunked). A body that ends early raises; it never just ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from cache.pieces import Piece, Source


@dataclass(slots=True)
class Answer:
    """Status, headers, and a body that is bytes, a stream of pieces, or nothing (HEAD, 204, 304)."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    length: int | None = 0
    body: bytes | AsyncIterator[Piece] | None = None
    source: Source = Source.LOCAL
