"""Prometheus text out of sums: every counter has its metric, histograms add up, rates only where there are GPUs."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from cache.tally import Count
from gateway.meter import layout
from gateway.meter.metrics import SOURCE_LABELS, Snapshot, render
from gateway.meter.readings import ClientCounts, ClientKey, Sums

# Names of the page that users' dashboards are built on; a name that goes away breaks them.
PROMISED = {
    "forebay_requests",
    "forebay_request_duration_seconds",
    "forebay_time_to_first_byte_seconds",
    "forebay_response_bytes",
    "forebay_cache_requests",
    "forebay_cache_evicted_bytes",
    "forebay_cache_errors",
    "forebay_upstream_requests",
    "forebay_upstream_bytes",
    "forebay_peer_bytes",
    "forebay_client_bytes",
    "forebay_client_head_bytes",
    "forebay_client_gpus",
    "forebay_client_target_bytes_per_second",
    "forebay_client_bytes_per_second_per_gpu",
    "forebay_client_stall_seconds",
    "forebay_build_info",
}


def _families(snapshot: Snapshot) -> dict[str, list[tuple[dict[str, str], str, float]]]:
    return {
        family.name: [(sample.labels, sample.name, sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(render(snapshot).decode())
    }


def test_the_promised_names_are_there_before_anything_happened() -> None:
    assert set(_families(Snapshot(Sums(), {}))) >= PROMISED


def test_every_source_has_a_label() -> None:
    assert set(SOURCE_LABELS) == set(layout.SOURCES)


def test_every_number_of_the_tally_is_told_apart() -> None:
    tally = [1 << count for count in Count]
    families = _families(Snapshot(Sums(tally=tally), {}))
    hits = {labels["result"]: value for labels, _, value in families["forebay_cache_requests"]}
    assert hits == {"hit": 1 + 2, "miss": 4, "coalesced": 8}
    peers = {labels["direction"]: value for labels, _, value in families["forebay_peer_bytes"]}
    assert peers == {"in": 1 << Count.PEER_BYTES_IN, "out": 1 << Count.PEER_BYTES_OUT}


def test_buckets_are_cumulative_and_end_at_the_count() -> None:
    counts = ClientCounts()
    counts.words[layout.TIMES : layout.TIMES + layout.BUCKETS] = range(layout.BUCKETS)
    families = _families(Snapshot(Sums(clients={ClientKey("a", "", ""): counts}), {}))
    local = [
        (labels.get("le"), value)
        for labels, name, value in families["forebay_time_to_first_byte_seconds"]
        if labels["source"] == "hit_local" and name.endswith("_bucket")
    ]
    values = [value for _, value in local]
    assert values == sorted(values)
    assert local[-1] == ("+Inf", sum(range(layout.BUCKETS)))


def test_rates_per_gpu_need_gpus() -> None:
    with_gpus, without = ClientCounts(), ClientCounts()
    with_gpus.words[layout.GPUS] = 4
    a, b = ClientKey("a", "j", "0"), ClientKey("b", "j", "0")
    rates = {a: {"1s": 28e9}, b: {"1s": 28e9}}
    families = _families(Snapshot(Sums(clients={a: with_gpus, b: without}), rates))
    assert [(labels["client"], value) for labels, _, value in families["forebay_client_bytes_per_second_per_gpu"]] == [
        ("a", 7e9)
    ]
