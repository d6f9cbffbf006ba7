"""Who is to blame when a read cannot be served: the tree of faults.

Every exception that crosses a port is one of these. An adapter turns what its library raised into a leaf here; nobody
above the adapter sees a library exception. A leaf carries values, never prose that somebody must parse. Whoever ends a
fault (turns it into an answer, or tries another source) logs it, once.

``another_source_may_help`` is the one question that callers ask: may the same bytes be had elsewhere (a peer instead
of the disk, upstream instead of a peer)?
"""

from __future__ import annotations


class Fault(Exception):
    """Something that kept bytes from their reader. Use a leaf, never this."""

    another_source_may_help: bool = False


class ClientFault(Fault):
    """The request cannot be served as it stands; repeating it does not help."""


class UpstreamFault(Fault):
    """The upstream refused, failed or changed."""


class PeerFault(Fault):
    """Another node failed us; upstream still has the bytes."""

    another_source_may_help = True


class DiskFault(Fault):
    """The local store failed us; peers and upstream still have the bytes."""

    another_source_may_help = True


class OwnFault(Fault):
    """A limit or an error of this node itself."""


class RangeOutside(ClientFault):
    """The asked range lies outside an object of ``size`` bytes (S3 InvalidRange, 416)."""

    def __init__(self, size: int) -> None:
        super().__init__(f"range outside an object of {size} bytes")
        self.size = size


class UpstreamRefused(UpstreamFault):
    """Upstream answered with an error status that the client should see as it is.

    ``headers`` are upstream's, end-to-end ones only; ``body`` is its error document, at most 64 KiB.
    """

    def __init__(self, status: int, headers: tuple[tuple[str, str], ...] = (), body: bytes = b"") -> None:
        super().__init__(f"upstream answered {status}")
        self.status = status
        self.headers = headers
        self.body = body


class VersionChanged(UpstreamFault):
    """Upstream no longer holds the version that was asked for (412 to If-Match, or another ETag)."""


class UpstreamUnreachable(UpstreamFault):
    """No answer from upstream: refused, reset, timed out, or its name did not resolve."""


class UpstreamBusy(UpstreamFault):
    """Upstream asks for patience (503 SlowDown, 429, 500, 502, 504) beyond our own retries."""


class UpstreamBroken(UpstreamFault):
    """Upstream's answer contradicts itself or the request: short body, other range, bytes beyond the announced."""


class PeerUnreachable(PeerFault):
    """The peer did not answer, hung up, or its breaker is open."""


class PeerLied(PeerFault):
    """The peer sent bytes that do not match their hash, or frames that do not parse."""


class PeerRefused(PeerFault):
    """The peer answered that it cannot serve this chunk (it is draining, full, or sees another view)."""


class PeerPassedOn(PeerFault):
    """The peer reports a fault of upstream; ``cause`` is that fault, as the owner saw it."""

    another_source_may_help = False

    def __init__(self, cause: Fault) -> None:
        super().__init__(f"the owner reports: {cause}")
        self.cause = cause


class DiskFailed(DiskFault):
    """The operating system refused a read or a write (EIO, EROFS, a vanished directory)."""


class DiskFull(DiskFault):
    """No room: ENOSPC, or the quota is reached and nothing has been evicted yet."""


class DiskDamaged(DiskFault):
    """Bytes on disk do not match their hash; the chunk file has been taken out of the store."""


class BudgetSpent(OwnFault):
    """A named limit is reached and the wait for it is over (S3 SlowDown, 503)."""

    def __init__(self, budget: str) -> None:
        super().__init__(f"budget {budget} is spent")
        self.budget = budget


class Draining(OwnFault):
    """This node is shutting down."""
