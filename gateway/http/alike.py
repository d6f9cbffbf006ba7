"""Those of a crowd who ask alike: what arrives is judged, and the head rendered, once for all of them.

Alike are plain reads of the same range, or of none: they differ in who asks, and that was settled when they were let
in. Each has a date, an id and an account of his own; whoever asks for anything else is judged by himself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from cache.crowds import Arrival
from cache.pieces import FilePiece, Piece
from cache.versions import ByteSpan
from gateway.admission import Admitted
from gateway.http.heads import Frame, frame_of
from gateway.reads import Reads
from gateway.s3.answers import Answer
from gateway.s3.conditions import is_conditional
from gateway.s3.requests import S3Request

_DECIDING: Final = ("range", "x-amz-checksum-mode")


class Found(NamedTuple):
    """An answer; its frame, if that is rendered (as of a kept connection); its body, and what of it is to come."""

    answer: Answer
    frame: Frame | None
    pieces: Sequence[Piece]
    rest: ByteSpan | None = None


class _Shared(NamedTuple):
    answer: Answer
    frame: Frame
    span: ByteSpan


class Alike:
    """One who waits for an arrival, and what decides his answer beside it."""

    __slots__ = ("_admitted", "_asked", "_reads")

    def __init__(self, reads: Reads, admitted: Admitted) -> None:
        self._reads = reads
        self._admitted = admitted
        self._asked = _asked(admitted.request)

    def found(self, arrival: Arrival) -> Found | None:
        """As :meth:`Reads.arrived`. Raises S3Error."""
        shared = arrival.shared.get(self._asked)
        if isinstance(shared, _Shared):
            pieces = self._reads.arrived_again(arrival, shared.span)
            if pieces is not None:
                return Found(shared.answer, shared.frame, pieces)
        found = self._reads.arrived(self._admitted, arrival)
        if found is None:
            return None
        answer, pieces, rest = found
        span = _span_in(arrival, pieces)
        if self._asked is None or span is None:
            return Found(answer, None, pieces, rest)
        frame = frame_of(answer, close=False, chunked=False)
        arrival.shared[self._asked] = _Shared(answer, frame, span)
        return Found(answer, frame, pieces)


def _span_in(arrival: Arrival, pieces: Sequence[Piece]) -> ByteSpan | None:
    """Which part of the chunk that has arrived the body is; None: it is of other chunks, or of several."""
    if arrival.chunk is None or len(pieces) != 1:
        return None
    piece = pieces[0]
    if not isinstance(piece, FilePiece) or piece.reader is not arrival.chunk.reader:
        return None
    return ByteSpan(piece.offset, piece.offset + piece.length)


def _asked(request: S3Request) -> tuple[str | None, ...] | None:
    """What two requests have in common that are alike; None: nobody is like this one."""
    if request.method != "GET" or request.query or is_conditional(request):
        return None
    return tuple(map(request.headers.get, _DECIDING))
