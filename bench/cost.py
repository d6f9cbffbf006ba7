"""From measured costs to a plan: how many cores and nodes feed N GPUs at a target.

A path is how a byte reaches a client: from the node's own disk (``hit``), from another node's (``remote``), from the
upstream on its way into the cache (``miss``), or past the cache (``forward``). What a path costs is a straight line,
CPU seconds per request plus CPU seconds per GB, laid through the samples that were measured (least squares of the
relative errors, neither part below zero). A path without samples is assumed, in multiples of a hit; the plan says so.

The plan is arithmetic: bytes per second by path, times cost, over the share of a core that may be used; and what passes
the network. It never claims more than its assumptions, which are part of it. Sans-IO.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import msgspec

PATHS: Final = ("hit", "remote", "miss", "forward")
ASSUMED_HITS: Final[Mapping[str, float]] = MappingProxyType({"remote": 3.0, "miss": 6.0, "forward": 6.0})


class PathSample(msgspec.Struct, frozen=True):
    """What so many requests on one path cost the server; ``request_bytes``: the body of each."""

    path: str
    requests: int
    bytes: int
    cpu_s: float
    request_bytes: int


@dataclass(frozen=True, slots=True)
class PathCost:
    """CPU seconds per request and per GB (10⁹ bytes). ``samples``: how many it rests on; 0: it is assumed."""

    per_request_s: float
    per_gb_s: float
    samples: int

    def of(self, request_bytes: int) -> float:
        """CPU seconds per GB in requests of that size."""
        return self.per_gb_s + self.per_request_s * 1e9 / request_bytes


@dataclass(frozen=True, slots=True)
class Need:
    """What is asked for. ``target``: bytes/s per GPU; ``shares``: of the bytes by path, 1.0 together."""

    gpus: int
    target: float
    gpus_per_node: int
    request_bytes: int
    shares: Mapping[str, float]
    busy: float = 0.7


@dataclass(frozen=True, slots=True)
class PathPlan:
    """One path's part: GB/s and cores of one node, and what its cost rests on."""

    path: str
    gb_per_s: float
    cpu_s_per_gb: float
    cores: float
    samples: int


@dataclass(frozen=True, slots=True)
class Plan:
    """For one node of several equal ones. ``network_gb_per_s``: in, from other nodes and from upstream."""

    nodes: int
    gb_per_s: float
    cores: float
    workers: int
    network_gb_per_s: float
    paths: tuple[PathPlan, ...]
    assumptions: tuple[str, ...]


def fit_costs(samples: Sequence[PathSample]) -> dict[str, PathCost]:
    """A cost for each path; those without samples in multiples of a hit. Raises ValueError where there are no hits."""
    found = {path: _fit(mine) for path in PATHS if (mine := [s for s in samples if s.path == path and s.requests])}
    if "hit" not in found:
        raise ValueError("no hits were measured: there is nothing to plan with")
    hit = found["hit"]
    for path, times in ASSUMED_HITS.items():
        found.setdefault(path, PathCost(hit.per_request_s * times, hit.per_gb_s * times, 0))
    return found


def default_shares(nodes: int, *, miss: float, forward: float) -> dict[str, float]:
    """Shares by path where a ring spreads chunks evenly: of what is cached, one part in ``nodes`` is the node's own."""
    cached = 1 - miss - forward
    if not (0 <= miss <= 1 and 0 <= forward <= 1 and cached >= 0):
        raise ValueError("shares are parts of 1")
    return {"hit": cached / nodes, "remote": cached * (1 - 1 / nodes), "miss": miss, "forward": forward}


def plan_nodes(costs: Mapping[str, PathCost], need: Need) -> Plan:
    """The plan."""
    nodes = -(-need.gpus // need.gpus_per_node)
    each = need.gpus / nodes * need.target / 1e9
    paths = tuple(_path(path, costs[path], need, each) for path in PATHS if need.shares.get(path, 0) > 0)
    cores = sum(path.cores for path in paths)
    away = sum(path.gb_per_s for path in paths if path.path != "hit")
    return Plan(
        nodes=nodes,
        gb_per_s=each,
        cores=cores,
        workers=max(math.ceil(cores), 1),
        network_gb_per_s=away,
        paths=paths,
        assumptions=tuple(_assumptions(costs, need)),
    )


def _path(path: str, cost: PathCost, need: Need, gb_per_s: float) -> PathPlan:
    mine = gb_per_s * need.shares[path]
    per_gb = cost.of(need.request_bytes)
    return PathPlan(path, mine, per_gb, mine * per_gb / need.busy, cost.samples)


def _assumptions(costs: Mapping[str, PathCost], need: Need) -> list[str]:
    lines = [
        f"a worker may be busy {need.busy:.0%} of the time; beyond that, latency grows faster than throughput",
        "a core here does what a core of the measuring machine did; client CPU is not counted",
        "chunks are spread evenly, GPUs read evenly, and disks hold the working set and its bandwidth",
        "loopback was measured: a network card that offloads segmentation is kinder, TLS is not counted",
    ]
    lines += [
        f"{path} was not measured: taken as {ASSUMED_HITS[path]:g} hits"
        for path in PATHS
        if need.shares.get(path, 0) > 0 and costs[path].samples == 0
    ]
    if costs["hit"].samples == 1:
        lines.append("one size was measured: cost is laid on the bytes alone")
    return lines


def _fit(samples: Sequence[PathSample]) -> PathCost:
    """Least squares of relative errors over (requests, bytes) → CPU seconds; a part below zero is left out."""
    rows = [(s.requests / s.cpu_s, s.bytes / 1e9 / s.cpu_s) for s in samples if s.cpu_s > 0]
    if not rows:
        return PathCost(0.0, 0.0, len(samples))
    sizes = {s.request_bytes for s in samples}
    by_request = sum(r for r, _ in rows) / sum(r * r for r, _ in rows)
    by_byte = sum(b for _, b in rows) / (sum(b * b for _, b in rows) or math.inf)
    if len(sizes) == 1:
        return PathCost(0.0, by_byte, len(rows)) if by_byte else PathCost(by_request, 0.0, len(rows))
    rr, rb, bb = (sum(x) for x in zip(*((r * r, r * b, b * b) for r, b in rows), strict=True))
    r1, b1 = sum(r for r, _ in rows), sum(b for _, b in rows)
    determinant = rr * bb - rb * rb
    per_request = (r1 * bb - b1 * rb) / determinant if determinant > 0 else -1.0
    per_gb = (b1 * rr - r1 * rb) / determinant if determinant > 0 else -1.0
    if per_request < 0:
        return PathCost(0.0, by_byte, len(rows))
    return PathCost(per_request, per_gb, len(rows)) if per_gb >= 0 else PathCost(by_request, 0.0, len(rows))
