"""The node's sums: nothing counted is lost, whoever is killed; status and metrics say the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cache.pieces import Cause, Source
from cache.tally import Count
from gateway.meter.counters import WorkerMeter
from gateway.meter.export import DEAD_FILES_MAX, NodeFacts, NodeMeter
from gateway.meter.metrics import SOURCE_LABELS

WRITER = """
import random, sys
from cache.pieces import Cause, Source
from cache.tally import Count
from gateway.meter.counters import WorkerMeter
meter = WorkerMeter(sys.argv[1], int(sys.argv[2]))
rng = random.Random(int(sys.argv[3]))
meter.tally.add(Count.CONNECTIONS_NOW, 5)
while True:
    for _ in range(rng.randrange(1, 200)):
        rank = str(rng.randrange(3))
        client = meter.client("trainer", "llm", rank, 8, 7e9)
        source, count = rng.choice(list(Source)), rng.randrange(10**9)
        client.sent(source, count)
        client.answered("GetObject", 200, source, 0.001, 0.002)
        client.waited(Cause.CLIENT, 0.5)
        meter.tally.add(Count.CHUNK_HITS_LOCAL)
    told = [[meter.client("trainer", "llm", str(r), 8, 7e9)._body[s] for s in Source] for r in range(3)]
    print(told, flush=True)
    if not sys.stdin.readline():
        break
"""


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def writer(run_dir: Path, index: int, seed: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(run_dir), str(index), str(seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[4],
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str]) -> list[list[int]]:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())  # type: ignore[no-any-return]  # what the writer prints


def samples(text: bytes, name: str) -> dict[tuple[str, ...], float]:
    """The values of one metric, by its label values in the order of the labels' names."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == name
    }


def assert_conserved(node: NodeMeter, everything: list[list[list[int]]]) -> None:
    """What the writers said they told their meters is what both pages say, client by client, source by source."""
    status = node.status()
    metrics = node.metrics()
    by_rank = {row["rank"]: row["bytes"] for row in status["clients"]}
    exported = samples(metrics, "forebay_client_bytes_total")
    for rank in range(3):
        for source in Source:
            want = sum(one[rank][source] for one in everything)
            name = source.name.lower()
            assert by_rank.get(str(rank), {}).get(name, 0) == want
            assert exported.get(("trainer", "llm", str(rank), SOURCE_LABELS[name]), 0) == want
    total = sum(map(sum, (rank for one in everything for rank in one)))
    assert sum(status["totals"]["bytes"].values()) == total
    assert sum(samples(metrics, "forebay_response_bytes_total").values()) == total


def test_bytes_are_conserved_over_killed_and_restarted_workers(tmp_path: Path) -> None:
    node = NodeMeter(str(tmp_path), "n1")
    dead: list[list[list[int]]] = []
    for life in range(3):
        with writer(tmp_path, 0, life) as first, writer(tmp_path, 1, 100 + life) as second:
            living = [told(first), told(second)]
            assert_conserved(node, dead + living)
            assert first.stdin is not None
            first.stdin.write("\n")
            first.stdin.flush()
            living[0] = told(first)
            assert_conserved(node, dead + living)
            first.send_signal(signal.SIGKILL)
            first.wait()
            node.sample()
            assert not list(node.check())
            assert_conserved(node, dead + living)
            dead += living
    assert_conserved(node, dead)
    status = node.status()
    assert [worker["alive"] for worker in status["workers"]] == [False] * 6
    assert status["counters"]["connections_now"] == 0
    assert status["counters"]["chunk_hits_local"] == status["totals"]["requests"]["total"]
    assert not list(node.check())
    node.close()
    assert NodeMeter(str(tmp_path), "n1").status()["clients"] == []
    assert not list(tmp_path.iterdir())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def node(tmp_path: Path, clock: Clock) -> Iterator[NodeMeter]:
    facts = NodeFacts(version="1.2", space=lambda: (30, 100), members=lambda: ["n1", "n2"])
    made = NodeMeter(str(tmp_path), "n1", facts, clock)
    yield made
    made.close()


def test_rates_agree_with_what_a_load_generator_measures(tmp_path: Path, node: NodeMeter, clock: Clock) -> None:
    """Ten seconds of a known, bursty load, sampled four times a second at other moments than it is made."""
    meter = WorkerMeter(str(tmp_path), 0)
    client = meter.client("gen", "bench", "0", 2, 7e9)
    for tick in range(1, 2001):  # every 10 ms
        clock.now = 100.0 + tick / 100
        client.sent(Source.LOCAL, 100_000_000 + (tick % 7) * 10_000_000)
        if tick % 25 == 13:
            node.sample()
    measured = sum(100_000_000 + (tick % 7) * 10_000_000 for tick in range(1001, 2001)) / 10.0
    row = node.status()["clients"][0]
    assert row["rates"]["10s"] == pytest.approx(measured, rel=0.01)
    assert row["per_gpu"]["10s"] == row["rates"]["10s"] / 2
    assert row["of_target"]["10s"] == row["per_gpu"]["10s"] / 7e9
    exported = samples(node.metrics(), "forebay_client_bytes_per_second_per_gpu")
    assert exported["gen", "bench", "0", "10s"] == pytest.approx(measured / 2, rel=0.01)
    meter.close()


def test_the_status_document(tmp_path: Path, node: NodeMeter, clock: Clock) -> None:
    meter = WorkerMeter(str(tmp_path), 0)
    client = meter.client("a", "j", "0", 8, 7e9)
    node.sample()
    client.sent(Source.LOCAL, 3_000)
    client.sent(Source.UPSTREAM, 1_000)
    client.sent(Source.FORWARDED, 50)
    client.waited(Cause.UPSTREAM, 3.0)
    client.waited(Cause.CLIENT, 1.0)
    client.answered("GetObject", 200, Source.LOCAL, 0.001, 0.002)
    meter.tally.add(Count.CHUNK_HITS_LOCAL, 3)
    meter.tally.add(Count.CHUNK_MISSES, 1)
    node.tally.add(Count.EVICTED_BYTES, 77)
    clock.now += 2.0
    document: dict[str, Any] = json.loads(json.dumps(node.status()))
    assert msgspec.json.decode(msgspec.json.encode(node.status())) == document
    assert document["node"] == "n1"
    assert document["uptime_s"] == 2.0
    assert document["members"] == ["n1", "n2"]
    assert document["workers"][0] | {"started_at": 0} == {
        "worker": 0,
        "pid": os.getpid(),
        "alive": True,
        "started_at": 0,
        "connections": 0,
        "requests": 1,
        "loop_lag_s": 0.0,
    }
    assert document["cache"]["used_bytes"] == 30
    assert document["cache"]["hit_ratio"] == 0.75
    assert document["cache"]["evicted"]["bytes"] == 77
    row = document["clients"][0]
    assert row["hit_ratio"] == 0.75
    assert row["waits_for"] == {"cause": "upstream", "share": 0.75}
    assert row["stalls"]["upstream"] == 3.0
    assert row["ttfb_ms"]["p50"] == pytest.approx(0.768)  # the middle of 0.512 ms to 1.024 ms
    assert document["totals"]["target_bytes_per_second"] == 56e9
    assert document["totals"]["rates"]["1s"] == 2025.0
    assert not list(node.check())
    meter.close()


def test_the_metrics(tmp_path: Path, node: NodeMeter) -> None:
    meter = WorkerMeter(str(tmp_path), 0)
    client = meter.client('q"\\\n', "j", "0", 8, 7e9)
    client.answered("GetObject", 200, Source.LOCAL, 0.001, 0.002)
    client.answered("ListObjectsV2", 403, Source.FORWARDED, 0.001, 200.0)
    client.sent(Source.PEER, 2**53)
    meter.tally.add(Count.UPSTREAM_HEADS, 2)
    text = node.metrics()
    assert samples(text, "forebay_requests_total") == {
        ("2xx", "GetObject", "hit_local"): 1,
        ("4xx", "list", "bypass"): 1,
    }
    assert samples(text, "forebay_client_bytes_total")['q"\\\n', "j", "0", "hit_peer"] == 2**53
    assert samples(text, "forebay_request_duration_seconds_count")[("bypass",)] == 1
    assert samples(text, "forebay_request_duration_seconds_sum")[("bypass",)] == 200.0
    buckets = samples(text, "forebay_time_to_first_byte_seconds_bucket")
    assert buckets["0.001024", "hit_local"] == 1.0
    assert buckets["0.000512", "hit_local"] == 0.0
    assert samples(text, "forebay_upstream_requests_total")[("head",)] == 2
    assert samples(text, "forebay_client_target_bytes_per_second") == {('q"\\\n', "j", "0"): 56e9}
    assert samples(text, "forebay_ring_nodes") == {(): 2}
    assert samples(text, "forebay_cache_capacity_bytes") == {(): 100}
    assert samples(text, "forebay_build_info") == {("n1", "1.2"): 1}
    meter.close()


def test_dead_files_are_kept_but_not_for_ever(tmp_path: Path, node: NodeMeter) -> None:
    for _ in range(DEAD_FILES_MAX + 5):
        meter = WorkerMeter(str(tmp_path), 0)
        meter.client("a", "", "", 0, 0.0).sent(Source.LOCAL, 1)
        node.sample()
        meter.close()
        node.sample()
    assert len(list(tmp_path.iterdir())) == DEAD_FILES_MAX
    assert node.status()["totals"]["bytes"]["local"] == DEAD_FILES_MAX + 5


def test_a_directory_that_is_removed_under_the_node_costs_no_count(tmp_path: Path, node: NodeMeter) -> None:
    meter = WorkerMeter(str(tmp_path), 0)
    meter.tally.add(Count.CHUNK_MISSES, 7)
    node.sample()
    shutil.rmtree(tmp_path)
    meter.tally.add(Count.CHUNK_MISSES, 2)
    node.sample()
    assert node.status()["counters"]["chunk_misses"] == 9
    meter.close()


def test_what_is_no_meter_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text("{}")
    (tmp_path / "worker-9.1.meter").write_bytes(b"cut")
    node = NodeMeter(str(tmp_path), "n1")
    (tmp_path / "worker-8.1.meter").write_bytes(b"cut")
    node.sample()
    assert node.status()["workers"] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["status.json", "worker-8.1.meter"]


def test_a_worker_that_outlives_its_node_process_is_adopted(tmp_path: Path) -> None:
    meter = WorkerMeter(str(tmp_path), 0)
    meter.client("a", "", "", 0, 0.0).sent(Source.LOCAL, 5)
    node = NodeMeter(str(tmp_path), "n1")
    assert node.status()["totals"]["bytes"]["local"] == 5
    meter.close()
    assert list(node.check())
    node.close()
