"""The other page: a cacheable read, from the admitted request to the answer.

Look up what the key holds, judge conditions and range against it, answer with the bytes of exactly that version.
:meth:`Reads.at_once` does so without waiting, or not at all; :meth:`Reads.answer` waits. Both go through the same
rules, so they answer alike. What was judged may be kept and answers again (:meth:`Reads.again`) while its entry stands.
The first byte is asked for before an answer exists, so a version that upstream has replaced meanwhile is looked up
again while nothing has been sent; after that a fault aborts. What cannot be cached (no ETag, a part by number) is
forwarded, and so is a GET of what upstream refused to a HEAD, for its error document.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, NamedTuple

from cache.cache import Cache
from cache.crowds import Arrival, Call, Waiter
from cache.faults import UpstreamRefused, VersionChanged
from cache.pieces import Piece
from cache.plan import Step
from cache.versions import ByteSpan, Entry, ObjectRef, ObjectVersion
from cache.ways import Waited
from gateway.admission import Admitted
from gateway.s3.answers import Answer
from gateway.s3.conditions import Verdict, is_conditional, judge_conditions
from gateway.s3.errors import S3Error
from gateway.s3.headers import content_range, not_modified_headers, prepare_headers, read_headers, wants_checksum
from gateway.s3.ranges import parse_range
from gateway.s3.requests import S3Request

LOOKUPS_MAX: Final = 3
PREPARED_MAX: Final = 4096
_NO_BODY: Final[Sequence[Piece]] = ()
Forward = Callable[[Admitted], Awaitable[Answer]]


@dataclass(slots=True)
class Judged:
    """What the rules make of a read while its key holds what ``entry`` says.

    ``answer`` is without the body, which is the bytes of ``span`` by ``plan`` (empty: there is none). ``stages``:
    whether it asks for the whole object to be brought.
    """

    ref: ObjectRef
    entry: Entry
    answer: Answer
    span: ByteSpan | None
    plan: tuple[Step, ...]
    stages: bool


class Arrived(NamedTuple):
    """An answer that others may have waited for too, the pieces of its body that are here, and the span that is not."""

    answer: Answer
    pieces: Sequence[Piece]
    rest: ByteSpan | None = None


class Reads:
    """Answers reads from the cache. ``forward`` answers the ones that the cache cannot."""

    def __init__(self, cache: Cache, forward: Forward) -> None:
        self._cache = cache
        self._forward = forward
        self._lines: dict[tuple[bytes, bool], tuple[tuple[tuple[str, str], ...], str]] = {}

    def expect(self, admitted: Admitted, call: Call, *, known: bool) -> Waiter | None:
        """After :meth:`at_once`: have ``call`` called with what others wait for too; None: wait for :meth:`answer`.

        ``known``: it was judged, only its bytes are missing.
        """
        request = admitted.request
        start, checksums = _beginning(request), wants_checksum(request, None)
        return self._cache.expect(request.ref, call, start=start, checksums=checksums, known=known)

    def arrived(self, admitted: Admitted, arrival: Arrival) -> Arrived | None:
        """What :meth:`expect` was called for: the answer to a GET and its body, if that begins to be here by now.

        Never waits. Raises S3Error.
        """
        request, entry = admitted.request, arrival.entry
        if request.method == "GET" and _suffices(request, entry):
            answer, span = self.judge(request, entry)
            if span is None:
                return Arrived(answer, _NO_BODY)
            piece = self._cache.arrived(arrival, span)
            if piece is not None:
                answer.source = piece.source
                start = span.start + len(piece)
                return Arrived(answer, (piece,), ByteSpan(start, span.stop) if start < span.stop else None)
        judged, pieces = self.at_once(admitted) or (None, None)
        return None if judged is None or pieces is None else Arrived(judged.answer, pieces)

    def rest(
        self, arrival: Arrival, span: ByteSpan, first: Piece | None, waited: Waited
    ) -> AsyncGenerator[Piece, None]:
        """What follows the pieces that have arrived: what is left of them (``first``), then ``span``."""
        rest = self._cache.read(arrival.entry.version, span, waited)
        return rest if first is None else _body(first, rest)

    def arrived_again(self, arrival: Arrival, span: ByteSpan) -> Sequence[Piece] | None:
        """The body that :meth:`arrived` found for another who asks alike; None: it has to be judged again."""
        piece = self._cache.arrived(arrival, span)
        return None if piece is None else (piece,)

    def at_once(self, admitted: Admitted) -> tuple[Judged, Sequence[Piece] | None] | None:
        """What is judged, if all that takes is known; and its body, if that is in memory on this node (else None).

        Never waits. The pieces may be sent at once, and only then. Raises S3Error.
        """
        request = admitted.request
        entry = self._cache.known(request.ref) if admitted.operation.route == "read" else None
        if entry is None or not _suffices(request, entry):
            return None
        answer, span = self.judge(request, entry)
        plan = self._cache.plan(entry.version, span) if span is not None and request.method == "GET" else ()
        if plan is None:
            return None
        judged = Judged(request.ref, entry, answer, span, plan, stages=span is not None and _stages(request))
        return judged, self._pieces(judged)

    def again(self, judged: Judged) -> Sequence[Piece] | None:
        """The body that :meth:`at_once` would find for what was judged before; None: it has to be judged again."""
        return self._pieces(judged) if self._cache.known(judged.ref) is judged.entry else None

    def _pieces(self, judged: Judged) -> Sequence[Piece] | None:
        if judged.stages:
            self._cache.stage(judged.entry.version)
        return self._cache.held(judged.plan) if judged.plan else _NO_BODY

    def judge(self, request: S3Request, entry: Entry) -> tuple[Answer, ByteSpan | None]:
        """The head of the answer, and the span of the version that a GET's body has (None: no body).

        Raises S3Error PreconditionFailed and RangeOutside.
        """
        version = entry.version
        verdict = Verdict.PROCEED
        if is_conditional(request):
            verdict = judge_conditions(request, version.etag, entry.header("last-modified"))
        if verdict is Verdict.PRECONDITION_FAILED:
            raise S3Error("PreconditionFailed")
        if verdict is Verdict.NOT_MODIFIED:
            return Answer(304, not_modified_headers(entry), None), None
        asked = parse_range(request.headers["range"]) if "range" in request.headers else None
        span = None if asked is None or verdict is Verdict.IGNORE_RANGE else asked.resolve(version.size)
        status, length = (200, version.size) if span is None else (206, span.length)
        if request.query:
            answer = Answer(status, read_headers(entry, request, span), length)
        else:
            headers = [] if span is None else [content_range(span, version.size)]
            answer = Answer(status, headers, length, prepared=self._prepared(request, entry, span))
        return answer, version.whole if span is None else span

    def _prepared(self, request: S3Request, entry: Entry, span: ByteSpan | None) -> str:
        """The entry's header lines, rendered once for as long as the catalog keeps the entry as it is."""
        checksum = wants_checksum(request, span)
        key = entry.version.identity, checksum
        kept = self._lines.get(key)
        if kept is None or kept[0] is not entry.headers:
            if len(self._lines) >= PREPARED_MAX:
                self._lines.clear()
            kept = self._lines[key] = entry.headers, prepare_headers(entry, checksum=checksum)
        return kept[1]

    async def answer(self, admitted: Admitted, waited: Waited, judged: Judged | None = None) -> Answer:
        """The answer, its first byte at hand. Raises S3Error and faults.

        ``judged``: what :meth:`at_once` has just made of it, bytes of its span being all that was missing; it is not
        looked up again then, unless its version is gone.
        """
        for _ in range(LOOKUPS_MAX if judged is None else 1 + LOOKUPS_MAX):
            try:
                return await self._read(admitted, waited, judged)
            except VersionChanged:
                judged = None
            except UpstreamRefused as refused:
                if self._cache.known(admitted.request.ref) is not None:
                    self._cache.forget([admitted.request.ref])
                if refused.body:
                    raise  # it is upstream's own answer to a GET
                return await self._forward(admitted)
        raise VersionChanged(f"changed {LOOKUPS_MAX} times while it was looked up")

    async def _read(self, admitted: Admitted, waited: Waited, judged: Judged | None) -> Answer:
        if judged is not None and judged.span is not None:
            return await self._begun(judged.answer, judged.entry.version, judged.span, waited)
        request = admitted.request
        start, checksums = _beginning(request), wants_checksum(request, None)
        entry = await self._cache.entry(request.ref, start=start, checksums=checksums, waited=waited)
        if not _cacheable(request, entry):
            return await self._forward(admitted)
        answer, span = self.judge(request, entry)
        if span is not None and request.method == "GET":
            return await self._begun(answer, entry.version, span, waited)
        if span is not None and _stages(request):
            self._cache.stage(entry.version)
        return answer

    async def _begun(self, answer: Answer, version: ObjectVersion, span: ByteSpan, waited: Waited) -> Answer:
        """The answer, with the bytes of the span as its body, once these begin."""
        pieces = self._cache.read(version, span, waited)
        first = await anext(pieces)
        answer.source = first.source
        answer.body = _body(first, pieces)
        return answer


async def _body(first: Piece, rest: AsyncGenerator[Piece, None]) -> AsyncGenerator[Piece, None]:
    """The pieces, the first of which is here."""
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


def _cacheable(request: S3Request, entry: Entry) -> bool:
    """Whether an ETag pins the version. A part by number needs upstream's knowledge of the parts."""
    return bool(entry.version.etag) and "partNumber" not in request.query


def _suffices(request: S3Request, entry: Entry) -> bool:
    """Whether the entry says all that an answer needs."""
    return _cacheable(request, entry) and not (entry.partial and wants_checksum(request, None))


def _stages(request: S3Request) -> bool:
    """Whether the request is LOTA's sign that the whole object will be read: a HEAD of the first byte."""
    return request.method == "HEAD" and request.headers.get("range") == "bytes=0-0"


def _beginning(request: S3Request) -> int | None:
    """Where a GET will begin to read; None when its conditions, or the object's size, decide that."""
    if request.method != "GET" or is_conditional(request) or "partNumber" in request.query:
        return None
    asked = parse_range(request.headers["range"]) if "range" in request.headers else None
    return 0 if asked is None else asked.first
