"""What all connections of one worker share, and the account of every reply.

The lane and the aiohttp way make their replies here, so an answer gets the same head, the same counting and the same
log line on either. A reply is opened when its answer exists (:meth:`Service.reply`) and closed exactly once: it was
``answered``, or it ``broke_off``. Whoever ends a fault logs it, here, with the request id.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp.web_protocol import RequestPayloadError

from cache.faults import ClientFault, Fault, OwnFault, UpstreamFault
from cache.pieces import Piece
from cache.tally import Tally
from gateway.admission import Admission, Admitted, Regular
from gateway.forward import RequestBody
from gateway.http.heads import Frame, frame_of
from gateway.http.kept import Kept, KeptReplies
from gateway.http.turns import Turns
from gateway.meter.counters import ClientMeter, WorkerMeter
from gateway.reads import Judged, Reads
from gateway.s3.answers import Answer
from gateway.s3.canonical import DAY_S
from gateway.s3.errors import S3Error, answer_for
from gateway.s3.habits import Shown
from gateway.s3.requests import S3Request

if TYPE_CHECKING:
    from gateway.http.lane import Connection

UNIDENTIFIED: Final = "unidentified"
_REFINING: Final = frozenset({"x-forebay-job", "x-forebay-rank", "x-forebay-gpus"})


@dataclass(slots=True)
class Reply:
    """One answer on its way to one client."""

    answer: Answer
    head: bytes
    meter: ClientMeter
    operation: str
    request: S3Request | None
    request_id: str
    began: float
    first_byte_at: float
    close: bool
    chunked: bool


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client may keep a connection waiting, in seconds: for a head, between requests, in mid-body."""

    head_s: float = 10.0
    idle_s: float = 300.0
    stall_s: float = 60.0


@dataclass(slots=True)
class Service:
    """The door, the rules and the books of one worker. ``forward`` answers what is no cacheable read."""

    admission: Admission
    reads: Reads
    forward: Callable[[Admitted, RequestBody | None], Awaitable[Answer]]
    meter: WorkerMeter
    domains: tuple[str, ...]
    patience: Patience = field(default_factory=Patience)
    connections_max: int = 16_384
    access_log: bool = False
    draining: bool = False
    connections: set[Connection] = field(default_factory=set)
    kept: KeptReplies = field(default_factory=KeptReplies)
    turns: Turns = field(default_factory=Turns)
    _ids: itertools.count[int] = field(default_factory=itertools.count)
    _id_prefix: str = field(default_factory=lambda: secrets.token_hex(4).upper())
    _date: tuple[int, str] = (-1, "")
    _plain_clients: dict[str, ClientMeter] = field(default_factory=dict)  # by access key, of our own identities

    @property
    def tally(self) -> Tally:
        """The worker's counters."""
        return self.meter.tally

    def _request_id(self) -> str:
        """A new id: sixteen hexadecimal digits, as S3's."""
        return f"{self._id_prefix}{next(self._ids) & 0xFFFFFFFF:08X}"

    def client(self, admitted: Admitted | None) -> ClientMeter:
        """Whom to count for; requests of which nobody knows whose they are share one client."""
        if admitted is None:
            return self.meter.client(UNIDENTIFIED, "", "", 0, 0.0)
        plain = _REFINING.isdisjoint(admitted.request.headers)
        kept = self._plain_clients.get(admitted.identity.access_key) if plain else None
        if kept is None:
            client = self.admission.client(admitted)
            kept = self.meter.client(client.name, client.job, client.rank, client.gpus, client.target)
            if plain:
                self._plain_clients[admitted.identity.access_key] = kept
        return kept

    def reply(
        self,
        admitted: Admitted,
        answer: Answer,
        began: float,
        *,
        keep: bool,
        http_1_0: bool = False,
        frame: Frame | None = None,
    ) -> Reply:
        """Open a reply to an admitted request that began at monotonic time ``began``.

        ``frame``: the answer's, if it is rendered already, for a connection that is kept and an answer whose length is
        known.
        """
        request_id = self._request_id()
        chunked = answer.length is None and answer.body is not None and not http_1_0
        close = not keep or self.draining or (answer.length is None and answer.body is not None and http_1_0)
        if frame is None or close:
            frame = frame_of(answer, close=close, chunked=chunked)
        return Reply(
            answer,
            self._head(frame, request_id),
            self.client(admitted),
            admitted.operation.name,
            admitted.request,
            request_id,
            began,
            time.monotonic(),
            close,
            chunked,
        )

    def keep(self, regular: Regular, shown: Shown, judged: Judged, reply: Reply) -> None:
        """Keep the reply, which leaves its connection open, for when the regular asks for the same again."""
        if reply.request is not None:
            frame = frame_of(judged.answer, close=False, chunked=False)
            kept = Kept(judged, frame, reply.meter, reply.operation, reply.request)
            self.kept.keep(regular, shown, kept, self.admission.generation)

    def again(self, regular: Regular, shown: Shown, began: float, now: float) -> tuple[Reply, Sequence[Piece]] | None:
        """The reply that was kept for this, opened anew, and its body; None: it has to be judged.

        ``began`` is when the request did, in monotonic time, ``now`` the wall clock's.
        """
        kept = None if self.draining else self.kept.find(regular, shown)
        pieces = None if kept is None else self.reads.again(kept.judged)
        if kept is None or pieces is None:
            return None
        request_id = self._request_id()
        head = kept.frame.head(self._date_at(now), request_id)
        first_byte_at = time.monotonic()
        reply = Reply(
            kept.judged.answer,
            head,
            kept.meter,
            kept.operation,
            kept.request,
            request_id,
            began,
            first_byte_at,
            close=False,
            chunked=False,
        )
        return reply, pieces

    def refusal(
        self, error: S3Error | Fault, began: float, *, request: S3Request | None, admitted: Admitted | None, keep: bool
    ) -> Reply:
        """Open a reply that tells an error."""
        request_id = self._request_id()
        answer = answer_for(error, request=request, request_id=request_id)
        self._log_fault(error, request_id)
        close = not keep or self.draining
        head = self._head(frame_of(answer, close=close, chunked=False), request_id)
        operation = admitted.operation.name if admitted is not None else "Refused"
        now = time.monotonic()
        meter = self.client(admitted)
        return Reply(answer, head, meter, operation, request, request_id, began, now, close, chunked=False)

    async def replied(
        self,
        admitted: Admitted,
        answer: Awaitable[Answer],
        began: float,
        *,
        keep: Callable[[], bool],
        http_1_0: bool = False,
    ) -> Reply:
        """Open the reply to an admitted request once its answer is there, or the error that kept it away.

        ``keep``: whether the connection may be kept, asked when all is over. Raises ConnectionError and what aiohttp
        says of the client's own body: there is nobody to reply to then.
        """
        try:
            return self.reply(admitted, await answer, began, keep=keep(), http_1_0=http_1_0)
        except (S3Error, Fault) as known:
            error: S3Error | Fault = known
        except (ConnectionError, RequestPayloadError):
            raise
        except Exception as unknown:  # noqa: BLE001 - the client gets a retryable error, the log the traceback
            error = self.fault_of_ours(unknown)
        return self.refusal(error, began, request=admitted.request, admitted=admitted, keep=keep())

    def fault_of_ours(self, error: Exception) -> OwnFault:
        """What nobody expected, logged, as a fault that a client may retry after."""
        structlog.get_logger().error("a request met an error of ours", exc_info=error)
        return OwnFault(type(error).__name__)

    def answered(self, reply: Reply) -> None:
        """Close a reply: everything is on the socket."""
        total = time.monotonic() - reply.began
        answer = reply.answer
        reply.meter.answered(reply.operation, answer.status, answer.source, reply.first_byte_at - reply.began, total)
        if self.access_log:
            self._log_access(reply, total)

    def broke_off(self, reply: Reply, error: BaseException) -> None:
        """Close a reply whose connection is being aborted."""
        self.answered(reply)
        if isinstance(error, Fault):
            self._log_fault(error, reply.request_id)
        elif isinstance(error, Exception) and not isinstance(error, ConnectionError):
            structlog.get_logger().error("reply broke off", request_id=reply.request_id, exc_info=error)

    def _head(self, frame: Frame, request_id: str) -> bytes:
        return frame.head(self._date_at(time.time()), request_id)

    def _date_at(self, now: float) -> str:
        second = int(now)
        if self._date[0] != second:
            same_day = second // DAY_S == self._date[0] // DAY_S
            day = (self._date[1] if same_day else formatdate(second, usegmt=True))[:-12]
            clock = f"{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02} GMT"
            self._date = (second, day + clock)
        return self._date[1]

    def _log_fault(self, error: S3Error | Fault, request_id: str) -> None:
        if isinstance(error, S3Error | ClientFault):
            return
        log = structlog.get_logger()
        note = log.warning if isinstance(error, UpstreamFault) else log.error
        note("request failed", request_id=request_id, fault=type(error).__name__, why=str(error))

    def _log_access(self, reply: Reply, total: float) -> None:
        request = reply.request
        structlog.get_logger().info(
            "request",
            request_id=reply.request_id,
            op=reply.operation,
            bucket=request.bucket if request else "",
            key=request.key if request else "",
            range=request.headers.get("range", "") if request else "",
            status=reply.answer.status,
            bytes=reply.answer.length,
            source=reply.answer.source.name.lower(),
            ttfb_ms=round((reply.first_byte_at - reply.began) * 1e3, 3),
            total_ms=round(total * 1e3, 3),
            user_agent=request.headers.get("user-agent", "") if request else "",
        )
