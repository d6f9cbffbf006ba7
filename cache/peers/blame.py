"""Faults on the wire: how an owner's fault is told to the reader, and what the reader makes of it.

The table names what crosses as itself, inside :class:`PeerPassedOn`: faults of upstream, which every node would meet.
Any other fault is the owner's own affair (its disk, its limits) and arrives as :class:`PeerRefused`, so that the reader
turns to another source. An unknown name is treated likewise: a newer peer may know more faults than we do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cache.faults import (
    Fault,
    PeerFault,
    PeerPassedOn,
    PeerRefused,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamUnreachable,
    VersionChanged,
)
from cache.peers.frames import Failed

TEXT_MAX: Final = 500
BODY_BYTES_MAX: Final = 64 * 1024

PASSED_ON: Final[Mapping[str, type[Fault]]] = {
    kind.__name__: kind for kind in (VersionChanged, UpstreamUnreachable, UpstreamBusy, UpstreamBroken)
}


def failed_of(fault: Fault) -> Failed:
    """The frame that tells ``fault``."""
    kind, text = type(fault).__name__, str(fault)[:TEXT_MAX]
    if isinstance(fault, UpstreamRefused):
        return Failed(kind, text, fault.status, fault.headers, fault.body[:BODY_BYTES_MAX])
    return Failed(kind, text)


def fault_of(failed: Failed) -> PeerFault:
    """What the reader raises for that frame."""
    if failed.kind == UpstreamRefused.__name__:
        return PeerPassedOn(UpstreamRefused(failed.status, failed.headers, failed.body))
    kind = PASSED_ON.get(failed.kind)
    return PeerPassedOn(kind(failed.text)) if kind else PeerRefused(f"{failed.kind}: {failed.text}")
