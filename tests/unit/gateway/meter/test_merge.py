"""The cluster's document: sums of what was counted, everything else worked out again."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cache.tally import Count
from gateway.meter import documents, layout
from gateway.meter.merge import merge
from gateway.meter.readings import ClientCounts, ClientKey

words = st.lists(st.integers(0, 10**6), min_size=layout.CLIENT_WORDS, max_size=layout.CLIENT_WORDS)


def _node(name: str, clients: dict[str, list[int]], tally: list[int] | None = None) -> dict[str, Any]:
    tally = tally or [0] * len(Count)
    recent = (dict.fromkeys(layout.CAUSES, 1.0), 10.0)
    rates = {"1s": 1e9, "10s": 2e9, "60s": 3e9}
    rows = [
        documents.client_row(ClientKey(who, "", ""), ClientCounts(one), rates, recent) for who, one in clients.items()
    ]
    everyone = ClientCounts()
    for one in clients.values():
        everyone.add(one, alive=True)
    return {
        "node": name,
        "version": "1",
        "workers": [],
        "cache": documents.cache_part(tally, 1, 10),
        "upstream": documents.upstream_part(tally),
        "peers": documents.peers_part(tally),
        "clients": rows,
        "totals": documents.total_row(rows, everyone, rates, recent),
    }


@settings(max_examples=20)
@given(st.lists(words, min_size=1, max_size=4))
def test_bytes_requests_and_times_are_conserved(per_node: list[list[int]]) -> None:
    nodes = [_node(f"n{number}", {"a": one}) for number, one in enumerate(per_node)]
    before = copy.deepcopy(nodes)
    merged = json.loads(json.dumps(merge(nodes)))
    assert nodes == before
    row = merged["clients"][0]
    counts = [ClientCounts(one) for one in per_node]
    for position, source in enumerate(layout.SOURCES):
        assert row["bytes"][source] == sum(one.body[position] for one in counts)
        assert merged["totals"]["bytes"][source] == row["bytes"][source]
    assert row["requests"]["total"] == sum(one.requests for one in counts)
    assert sum(row["requests"]["by_operation"].values()) == row["requests"]["total"]
    assert row["gpus"] == max(one.gpus for one in counts)
    assert row["rates"]["1s"] == 1e9 * len(per_node)
    assert len(row["ttfb_counts"]) == layout.BUCKETS
    if row["gpus"]:
        assert row["per_gpu"]["1s"] == row["rates"]["1s"] / row["gpus"]


def test_clients_are_matched_and_ratios_worked_out_again() -> None:
    low, high = [0] * layout.CLIENT_WORDS, [0] * layout.CLIENT_WORDS
    low[layout.BODY + 2] = 100
    high[layout.BODY] = 300
    tally = [0] * len(Count)
    tally[Count.CHUNK_HITS_LOCAL] = 3
    other = [0] * len(Count)
    other[Count.CHUNK_MISSES] = 1
    merged = merge([_node("n1", {"a": low, "b": low}, other), _node("n2", {"a": high}, tally)])
    assert [row["client"] for row in merged["clients"]] == ["a", "b"]
    assert merged["clients"][0]["hit_ratio"] == 0.75
    assert merged["cache"]["hit_ratio"] == 0.75
    assert merged["cache"]["quota_bytes"] == 20
    assert [node["node"] for node in merged["nodes"]] == ["n1", "n2"]
    assert "clients" not in merged["nodes"][0]


def test_a_node_that_did_not_answer_is_listed_and_adds_nothing() -> None:
    one = _node("n1", {"a": [1] * layout.CLIENT_WORDS})
    merged = merge([one, {"node": "n2", "error": "timed out"}])
    assert merged["nodes"][1] == {"node": "n2", "error": "timed out"}
    assert merged["totals"]["bytes"] == one["totals"]["bytes"]


def test_nobody_answered() -> None:
    merged = merge([{"node": "n2", "error": "timed out"}])
    assert merged["totals"] == {}
    assert merged["clients"] == []
