"""Status documents become counts, and every broken promise is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.demo_counts import Counts, Pass, judge, read_counts

GOOD = Counts(local_bytes=60, peer_bytes=40, requests=10, chunk_hits=10)


def document(**upstream: int) -> dict[str, Any]:
    return {
        "totals": {
            "bytes": {"local": 1, "peer": 2, "upstream": 3, "forwarded": 99},
            "requests": {"total": 4},
        },
        "cache": {"hits": {"local": 5, "peer": 6}, "misses": 7, "coalesced": 8},
        "upstream": {"requests": {"get": 9, "head": 10, "forward": 11} | upstream},
    }


def test_nodes_are_summed_and_passes_are_differences() -> None:
    one = read_counts([document()])
    assert one == Counts(1, 2, 3, 4, 11, 15, 9, 10)
    assert read_counts([document(), document(get=1)]) - one == replace(one, upstream_gets=1)
    assert read_counts([]) == Counts()


def test_ratios() -> None:
    counts = Counts(local_bytes=1, peer_bytes=2, upstream_bytes=1, chunk_hits=3, chunk_misses=1)
    assert (counts.served_bytes, counts.byte_hit_ratio, counts.chunk_hit_ratio) == (4, 0.75, 0.75)
    assert (Counts().byte_hit_ratio, Counts().chunk_hit_ratio) == (1.0, 1.0)


def test_rates() -> None:
    done = Pass("cold", "boto3", warm=False, received_bytes=100, seconds=2.0, counts=GOOD)
    assert (done.bytes_per_s, done.requests_per_s) == (50.0, 5.0)
    assert (Pass("", "", warm=True).bytes_per_s, Pass("", "", warm=True).requests_per_s) == (0.0, 0.0)


@pytest.mark.parametrize("warm", [False, True])
def test_all_is_well(warm: bool) -> None:
    assert judge([Pass("p", "c", warm=warm, received_bytes=100, counts=GOOD)]) == []


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (replace(GOOD, local_bytes=61), "the nodes counted 101 bytes, the clients got 100"),
        (replace(GOOD, local_bytes=59, upstream_bytes=1), "0.9900 of the bytes, not 1"),
        (replace(GOOD, chunk_misses=10), "0.5000 of the chunks"),
        (replace(GOOD, upstream_gets=2), "2 GETs went to the bucket"),
    ],
)
def test_each_broken_promise_of_a_warm_pass_is_named(counts: Counts, said: str) -> None:
    (line,) = judge([Pass("warm", "boto3", warm=True, received_bytes=100, counts=counts)])
    assert line.startswith("warm, boto3: ")
    assert said in line


def test_a_cold_pass_may_ask_the_bucket() -> None:
    counts = Counts(upstream_bytes=100, chunk_misses=3, upstream_gets=3)
    assert judge([Pass("cold", "boto3", warm=False, received_bytes=100, counts=counts)]) == []


def test_wrong_bytes_are_named_a_few_and_then_counted() -> None:
    faults = [f"k{number}: wrong bytes" for number in range(8)]
    lines = judge([Pass("cold", "boto3", warm=False, faults=faults)])
    assert lines[0] == "cold, boto3: k0: wrong bytes"
    assert lines[5:] == ["cold, boto3: and 3 more"]
