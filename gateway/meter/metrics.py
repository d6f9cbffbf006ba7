"""The node's sums as Prometheus text: the names, labels and help of every metric, as tables.

Names follow the Prometheus naming rules: prefix, one base unit, ``_total`` for counters. Labels are clients' names,
jobs and ranks as the operator configured them (bounded by the meter), never keys, buckets or addresses. Request cells
at zero are left out. Counters begin at 0 with the node process. The rates per GPU are a convenience: history belongs
to ``rate(forebay_client_bytes_total[…]) / forebay_client_gpus``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from cache.tally import Count
from gateway.meter import layout
from gateway.meter.readings import ClientCounts, ClientKey, Sums

SOURCE_LABELS: Final[Mapping[str, str]] = {
    "local": "hit_local",
    "peer": "hit_peer",
    "upstream": "miss",
    "forwarded": "bypass",
}
_LABELS: Final = tuple(SOURCE_LABELS[source] for source in layout.SOURCES)
_CLIENT: Final = ["client", "job", "rank"]

# (name, help, label, {label value: counts to add}); no label: one series under "".
_TALLIED: Final[Sequence[tuple[str, str, str, Mapping[str, tuple[Count, ...]]]]] = (
    (
        "forebay_cache_requests",
        "Chunks asked of the cache.",
        "result",
        {
            "hit": (Count.CHUNK_HITS_LOCAL, Count.CHUNK_HITS_PEER),
            "miss": (Count.CHUNK_MISSES,),
            "coalesced": (Count.CHUNK_COALESCED,),
        },
    ),
    ("forebay_cache_evicted_bytes", "Bytes evicted.", "reason", {"quota": (Count.EVICTED_BYTES,)}),
    (
        "forebay_cache_errors",
        "Failures of the disk, and damaged chunks taken out.",
        "kind",
        {"disk": (Count.DISK_ERRORS,), "damaged": (Count.DISK_DAMAGED,)},
    ),
    ("forebay_cache_invalidations", "Keys invalidated.", "", {"": (Count.INVALIDATIONS,)}),
    (
        "forebay_cache_fills",
        "Chunk fills, by how they ended.",
        "result",
        {"sealed": (Count.FILLS_SEALED,), "failed": (Count.FILLS_FAILED,)},
    ),
    (
        "forebay_catalog_requests",
        "Keys asked of the catalog.",
        "result",
        {
            "hit": (Count.CATALOG_HITS,),
            "miss": (Count.CATALOG_MISSES,),
            "revalidated": (Count.CATALOG_REVALIDATIONS,),
        },
    ),
    (
        "forebay_upstream_requests",
        "Requests sent upstream.",
        "op",
        {
            "head": (Count.UPSTREAM_HEADS,),
            "get": (Count.UPSTREAM_GETS,),
            "forward": (Count.UPSTREAM_FORWARDS,),
        },
    ),
    ("forebay_upstream_errors", "Failures of upstream.", "", {"": (Count.UPSTREAM_ERRORS,)}),
    ("forebay_upstream_bytes", "Body bytes received from upstream.", "", {"": (Count.UPSTREAM_BYTES,)}),
    (
        "forebay_peer_bytes",
        "Chunk bytes from and to other nodes.",
        "direction",
        {"in": (Count.PEER_BYTES_IN,), "out": (Count.PEER_BYTES_OUT,)},
    ),
    ("forebay_peer_errors", "Failures of peers.", "", {"": (Count.PEER_ERRORS,)}),
    ("forebay_connections", "Client connections accepted.", "", {"": (Count.CONNECTIONS,)}),
    ("forebay_lane_answers", "Requests answered by the fast lane.", "", {"": (Count.LANE_ANSWERS,)}),
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one scrape shows. ``rates``: bytes/s by window, by client; ``gauges``: whole-node levels by metric name."""

    sums: Sums
    rates: Mapping[ClientKey, Mapping[str, float]]
    gauges: Mapping[str, tuple[str, float]] = field(default_factory=dict)  # name → (help, value)
    build: Mapping[str, str] = field(default_factory=dict)


def render(snapshot: Snapshot) -> bytes:
    """The snapshot in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(snapshot))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @override
    def collect(self) -> Iterable[Metric]:
        snapshot = self._snapshot
        yield from _tallied(snapshot.sums.tally)
        yield from _requests(snapshot.sums.total())
        yield from _clients(snapshot.sums.clients)
        yield _per_gpu(snapshot)
        for name, (text, value) in snapshot.gauges.items():
            yield GaugeMetricFamily(name, text, value=value)
        info = GaugeMetricFamily("forebay_build_info", "Always 1; the labels say what runs.", labels=[*snapshot.build])
        info.add_metric([*snapshot.build.values()], 1)
        yield info


def _tallied(tally: Sequence[int]) -> Iterator[Metric]:
    for name, text, label, series in _TALLIED:
        family = CounterMetricFamily(name, text, labels=[label] if label else [])
        for value, counts in series.items():
            family.add_metric([value] if label else [], sum(tally[count] for count in counts))
        yield family


def _requests(total: ClientCounts) -> Iterator[Metric]:
    requests = CounterMetricFamily("forebay_requests", "Requests answered.", labels=["op", "code", "source"])
    for word, group, code, source in layout.REQUEST_CELLS:
        if total.words[word]:
            requests.add_metric([group, code, SOURCE_LABELS[source]], total.words[word])
    yield requests
    sent = CounterMetricFamily("forebay_response_bytes", "Body bytes taken by clients' sockets.", labels=["source"])
    for label, count in zip(_LABELS, total.body, strict=True):
        sent.add_metric([label], count)
    yield sent
    first = HistogramMetricFamily(
        "forebay_time_to_first_byte_seconds", "From the request to the first byte of its answer.", labels=["source"]
    )
    whole = HistogramMetricFamily(
        "forebay_request_duration_seconds", "From the request to the last byte of its answer.", labels=["source"]
    )
    for position, label in enumerate(_LABELS):
        first.add_metric([label], *_buckets(*total.first_byte(position)))
        whole.add_metric([label], *_buckets(*total.duration(position)))
    yield from (first, whole)


def _buckets(counts: Sequence[int], sum_us: int) -> tuple[list[tuple[str, float]], float]:
    """Counts by bucket as Prometheus wants them: cumulative, by upper bound."""
    bounds = [*map(str, layout.BOUNDS_S), "+Inf"]
    reached = 0
    out: list[tuple[str, float]] = []
    for bound, count in zip(bounds, counts, strict=True):
        reached += count
        out.append((bound, reached))
    return out, sum_us / 1e6


def _clients(clients: Mapping[ClientKey, ClientCounts]) -> Iterator[Metric]:
    body = CounterMetricFamily(
        "forebay_client_bytes", "Body bytes taken by the client's sockets.", labels=[*_CLIENT, "source"]
    )
    heads = CounterMetricFamily("forebay_client_head_bytes", "Bytes of response heads.", labels=_CLIENT)
    stalls = CounterMetricFamily(
        "forebay_client_stall_seconds", "Time that the client's responses waited.", labels=[*_CLIENT, "cause"]
    )
    gpus = GaugeMetricFamily("forebay_client_gpus", "GPUs that the client feeds.", labels=_CLIENT)
    target = GaugeMetricFamily(
        "forebay_client_target_bytes_per_second", "What the client wants, all its GPUs together.", labels=_CLIENT
    )
    in_flight = GaugeMetricFamily("forebay_client_requests_in_flight", "Requests being answered.", labels=_CLIENT)
    for key, counts in clients.items():
        for label, count in zip(_LABELS, counts.body, strict=True):
            body.add_metric([*key, label], count)
        for cause, micros in zip(layout.CAUSES, counts.stalls, strict=True):
            stalls.add_metric([*key, cause], micros / 1e6)
        heads.add_metric([*key], counts.words[layout.HEAD])
        gpus.add_metric([*key], counts.gpus)
        target.add_metric([*key], counts.gpus * counts.target)
        in_flight.add_metric([*key], counts.words[layout.IN_FLIGHT])
    yield from (body, heads, stalls, gpus, target, in_flight)


def _per_gpu(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily(
        "forebay_client_bytes_per_second_per_gpu", "Body bytes per second and GPU lately.", labels=[*_CLIENT, "window"]
    )
    for key, counts in snapshot.sums.clients.items():
        if counts.gpus:
            for window, rate in snapshot.rates.get(key, {}).items():
                family.add_metric([*key, window], rate / counts.gpus)
    return family
