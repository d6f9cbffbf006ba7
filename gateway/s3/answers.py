"""An answer to an S3 request, before anybody has rendered or sent it.

``reads`` and ``forward`` make answers, ``gateway/http`` sends them. ``headers`` are end-to-end ones, in the order in
which they go out; ``prepared`` are lines that are rendered already and go before them. Date, Connection, Content-Length
or Transfer-Encoding, and the request ids are added when the head is rendered. ``length`` is the body's exact length in
bytes (of a HEAD's answer too); None means that it is not known (a body then goes out chunked; an answer without one has
no length). A body that ends early raises; it never just ends.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from cache.pieces import Piece, Source


@dataclass(slots=True)
class Answer:
    """Status, headers, and a body: bytes, pieces that are all at hand, a stream of pieces, or nothing (HEAD, 304)."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    length: int | None = 0
    body: bytes | Sequence[Piece] | AsyncGenerator[Piece, None] | None = None
    source: Source = Source.LOCAL
    prepared: str = ""
