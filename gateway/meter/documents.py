"""The status document of a node: sums, rates and waits as JSON-able values.

A *row* is one client (or all of them together) as a dict. What can be added is in it as it was counted; what follows
from that (rates per GPU, share of the target, hit ratio, quantiles, the verdict) is worked out by ``finish`` alone, so
that ``merge`` adds the former over nodes and finishes again. Bytes are bytes, rates bytes/s, times seconds unless the
name says ms. Where a figure does not exist (no GPUs, no target, nothing counted yet) the value is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cache.pieces import Source
from cache.tally import Count
from gateway.meter import layout
from gateway.meter.histograms import quantile_s
from gateway.meter.readings import ClientCounts, ClientKey
from gateway.meter.stalls import judge

Document = dict[str, Any]


def client_row(
    key: ClientKey, counts: ClientCounts, rates: Mapping[str, float], recent: tuple[dict[str, float], float]
) -> Document:
    """One client. ``recent``: seconds waited by cause lately, and over how many seconds that was."""
    row: Document = {
        "client": key.client,
        "job": key.job,
        "rank": key.rank,
        "gpus": counts.gpus,
        "target_bytes_per_second_per_gpu": counts.target,
    }
    return finish(row | _counted(counts, rates, recent))


def total_row(
    rows: Sequence[Document], counts: ClientCounts, rates: Mapping[str, float], recent: tuple[dict[str, float], float]
) -> Document:
    """All clients together; GPUs and target are the sums of ``rows``."""
    return finish(_wanted(rows) | _counted(counts, rates, recent))


def finish(row: Document) -> Document:
    """The row with all that follows from what was counted."""
    gpus, rates = row["gpus"], row["rates"]
    wanted = row["target_bytes_per_second"] if "target_bytes_per_second" in row else _target(row)
    body = row["bytes"]
    hits, misses = body["local"] + body["peer"], body["upstream"]
    verdict = judge(row["stalls_recent"], row["recent_s"])
    return row | {
        "per_gpu": {name: (rate / gpus if gpus else None) for name, rate in rates.items()},
        "of_target": {name: (rate / wanted if wanted else None) for name, rate in rates.items()},
        "hit_ratio": ratio(hits, hits + misses),
        "waits_for": None if verdict is None else {"cause": verdict.cause, "share": verdict.share},
        "ttfb_ms": {"p50": _quantile_ms(row, 0.50), "p99": _quantile_ms(row, 0.99)},
    }


def ratio(part: float, whole: float) -> float | None:
    """``part`` of ``whole``; None when there is no whole."""
    return part / whole if whole else None


def cache_part(tally: Sequence[int], used: int, quota: int) -> Document:
    """What the cache did, of chunks."""
    return finish_cache(
        {
            "used_bytes": used,
            "quota_bytes": quota,
            "hits": {"local": tally[Count.CHUNK_HITS_LOCAL], "peer": tally[Count.CHUNK_HITS_PEER]},
            "misses": tally[Count.CHUNK_MISSES],
            "coalesced": tally[Count.CHUNK_COALESCED],
            "fills": {
                "now": tally[Count.FILLS_NOW],
                "started": tally[Count.FILLS_STARTED],
                "sealed": tally[Count.FILLS_SEALED],
                "failed": tally[Count.FILLS_FAILED],
                "bytes": tally[Count.FILL_BYTES],
            },
            "evicted": {"chunks": tally[Count.EVICTED_CHUNKS], "bytes": tally[Count.EVICTED_BYTES]},
            "errors": {"disk": tally[Count.DISK_ERRORS], "damaged": tally[Count.DISK_DAMAGED]},
        }
    )


def finish_cache(part: Document) -> Document:
    """The cache's part with its hit ratio: hits of all chunks that were asked for."""
    hits = part["hits"]["local"] + part["hits"]["peer"]
    return part | {"hit_ratio": ratio(hits, hits + part["misses"] + part["coalesced"])}


def upstream_part(tally: Sequence[int]) -> Document:
    """What upstream was asked."""
    return {
        "requests": {
            "head": tally[Count.UPSTREAM_HEADS],
            "get": tally[Count.UPSTREAM_GETS],
            "forward": tally[Count.UPSTREAM_FORWARDS],
        },
        "errors": tally[Count.UPSTREAM_ERRORS],
        "bytes": tally[Count.UPSTREAM_BYTES],
    }


def peers_part(tally: Sequence[int]) -> Document:
    """What went from and to other nodes."""
    return {
        "relays": tally[Count.PEER_RELAYS],
        "errors": tally[Count.PEER_ERRORS],
        "bytes": {"in": tally[Count.PEER_BYTES_IN], "out": tally[Count.PEER_BYTES_OUT]},
    }


def _target(row: Document) -> int:
    return int(row["gpus"] * row["target_bytes_per_second_per_gpu"])


def _wanted(rows: Sequence[Document]) -> Document:
    return {"gpus": sum(row["gpus"] for row in rows), "target_bytes_per_second": sum(map(_target, rows))}


def _counted(counts: ClientCounts, rates: Mapping[str, float], recent: tuple[dict[str, float], float]) -> Document:
    waited, elapsed = recent
    per_source = [counts.first_byte(source)[0] for source in Source]
    return {
        "bytes": dict(zip(layout.SOURCES, counts.body, strict=True)),
        "head_bytes": counts.words[layout.HEAD],
        "requests": _requests(counts),
        "in_flight": counts.words[layout.IN_FLIGHT],
        "rates": dict(rates),
        "stalls": {cause: micros / 1e6 for cause, micros in zip(layout.CAUSES, counts.stalls, strict=True)},
        "stalls_recent": waited,
        "recent_s": elapsed,
        "ttfb_counts": [sum(column) for column in zip(*per_source, strict=True)],
    }


def _requests(counts: ClientCounts) -> Document:
    by: dict[str, dict[str, int]] = {
        "by_source": dict.fromkeys(layout.SOURCES, 0),
        "by_code": dict.fromkeys(layout.CLASSES, 0),
        "by_operation": dict.fromkeys(layout.GROUPS, 0),
    }
    for word, group, code, source in layout.REQUEST_CELLS:
        count = counts.words[word]
        if count:
            by["by_source"][source] += count
            by["by_code"][code] += count
            by["by_operation"][group] += count
    return {"total": counts.requests, **by}


def _quantile_ms(row: Document, share: float) -> float | None:
    seconds = quantile_s(row["ttfb_counts"], share)
    return None if seconds is None else seconds * 1e3
