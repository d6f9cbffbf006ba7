"""What the nodes counted during a pass, and whether it is what the demo promises.

A node's status document (``gateway/meter/documents.py``) becomes a row of numbers, the cluster's is the sum over its
nodes, a pass is the difference of two. The nodes' own count of the bytes that they served must equal what the clients
received; the second reading of everything must come from the cache alone. :func:`judge` names every breach, in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Counts:
    """Sums over all nodes: body bytes by source, requests, chunk look-ups, and requests to upstream."""

    local_bytes: int = 0
    peer_bytes: int = 0
    upstream_bytes: int = 0
    requests: int = 0
    chunk_hits: int = 0
    chunk_misses: int = 0
    upstream_gets: int = 0
    upstream_heads: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, each.name) - getattr(other, each.name) for each in fields(self)))

    @property
    def served_bytes(self) -> int:
        """Bytes of objects that clients got, lists and other forwarded answers not included."""
        return self.local_bytes + self.peer_bytes + self.upstream_bytes

    @property
    def byte_hit_ratio(self) -> float:
        """Part of the served bytes that came from a cache; 1 when there were none."""
        return 1 - self.upstream_bytes / self.served_bytes if self.served_bytes else 1.0

    @property
    def chunk_hit_ratio(self) -> float:
        """Part of the asked chunks that a cache held; 1 when none was asked for."""
        asked = self.chunk_hits + self.chunk_misses
        return self.chunk_hits / asked if asked else 1.0


def read_counts(documents: Iterable[Mapping[str, Any]]) -> Counts:
    """The sum of the nodes' status documents. Raises KeyError for something that is none."""
    return sum(map(_one, documents), Counts())


def _one(document: Mapping[str, Any]) -> Counts:
    totals, cache, asked = document["totals"], document["cache"], document["upstream"]["requests"]
    return Counts(
        local_bytes=totals["bytes"]["local"],
        peer_bytes=totals["bytes"]["peer"],
        upstream_bytes=totals["bytes"]["upstream"],
        requests=totals["requests"]["total"],
        chunk_hits=cache["hits"]["local"] + cache["hits"]["peer"],
        chunk_misses=cache["misses"] + cache["coalesced"],
        upstream_gets=asked["get"],
        upstream_heads=asked["head"],
    )


@dataclass(slots=True)
class Pass:
    """One reading of everything: what the clients saw, and what the nodes counted meanwhile."""

    name: str
    client: str
    warm: bool
    objects: int = 0
    received_bytes: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)

    @property
    def bytes_per_s(self) -> float:
        """Received bytes per second."""
        return self.received_bytes / self.seconds if self.seconds else 0.0

    @property
    def requests_per_s(self) -> float:
        """Requests per second, as the nodes counted them."""
        return self.counts.requests / self.seconds if self.seconds else 0.0


def judge(passes: Sequence[Pass]) -> list[str]:
    """Everything that is not as promised, one line each; empty when all is well."""
    return [line for each in passes for line in _judge_one(each)]


def _judge_one(each: Pass) -> list[str]:
    name = f"{each.name}, {each.client}"
    counts = each.counts
    lines = [f"{name}: {fault}" for fault in each.faults[:5]]
    if len(each.faults) > 5:
        lines.append(f"{name}: and {len(each.faults) - 5} more")
    if not each.faults and counts.served_bytes != each.received_bytes:
        lines.append(f"{name}: the nodes counted {counts.served_bytes} bytes, the clients got {each.received_bytes}")
    if each.warm and (counts.byte_hit_ratio < 1 or counts.chunk_hit_ratio < 1):
        ratios = f"{counts.chunk_hit_ratio:.4f} of the chunks, {counts.byte_hit_ratio:.4f} of the bytes"
        lines.append(f"{name}: the hit ratio is {ratios}, not 1")
    if each.warm and counts.upstream_gets:
        lines.append(f"{name}: {counts.upstream_gets} GETs went to the bucket, not 0")
    return lines
