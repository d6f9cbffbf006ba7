"""Clients on two nodes of a Ray cluster that lives on this machine."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.client import Begin, Progress
from bench.command import main
from bench.crew import LoadFailed
from bench.hosts import RayCrew
from bench.load import run_load
from bench.plan import Door, LoadPlan, Shape
from bench.result import parse_json
from tests.doubles.fake_s3 import FakeS3

ray = pytest.importorskip("ray", reason="ray is not installed: forebay[ray]")
cluster_utils = pytest.importorskip("ray.cluster_utils", reason="ray is not installed: forebay[ray]")

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]
SIZE, OBJECTS = 4096, 5


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        two = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            two.add_node(num_cpus=1)
            two.wait_for_nodes()
            yield two
        finally:
            two.shutdown()


async def test_two_nodes_make_one_load(cluster: Any, tmp_path: Path) -> None:
    async with FakeS3() as fake:
        line = (
            f"checkpoint --endpoint {fake.endpoint} --bucket b --access-key AK --secret-key SK --obj.size {SIZE} "
            f"--objects {OBJECTS} --concurrent 4 --processes 2 --duration 2s --prefix p/ --json {tmp_path / 'r.json'} "
            f"--ray {cluster.address}"
        )
        assert await asyncio.to_thread(main, line.split()) == 0
        seen = [each for each in fake.seen if "checkpoint" in each.key and each.method in {"PUT", "GET"}]
        result = parse_json((tmp_path / "r.json").read_bytes())
    assert result.errors == {}
    assert result.requests == len(seen)
    burst = OBJECTS + 4 * OBJECTS
    first = [each.method for each in seen[:burst]]
    assert first == ["PUT"] * OBJECTS + ["GET"] * 4 * OBJECTS


async def test_a_warm_up_on_two_nodes_counts_for_nothing(cluster: Any) -> None:
    async with FakeS3() as fake:
        fake.shelf.put("b", f"p/{SIZE}/000000", bytes(SIZE))
        shape = Shape(
            prefix="p/", object_bytes=SIZE, objects=1, concurrent=4, processes=2, ray=cluster.address,
            duration_s=2.0, warmup_s=2.0,
        )  # fmt: skip
        before: list[int] = []
        heard: list[Progress] = []
        plan = LoadPlan(Door((fake.endpoint,), "b", "AK", "SK"), shape)
        report = await asyncio.to_thread(run_load, plan, heard.append, on_begin=lambda: before.append(len(fake.seen)))
        assert before[0] > 0
        assert (report.requests, report.errors) == (len(fake.seen) - before[0], {})
        assert all(each.requests <= report.requests for each in heard)


def test_each_node_has_a_client(cluster: Any) -> None:
    plan = LoadPlan(Door(("http://127.0.0.1:1",), "b"), Shape(concurrent=2, processes=2, ray=cluster.address))
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        crew = RayCrew(plan)
        try:
            crew.ready()
            nodes = {each["NodeID"] for each in ray.nodes()}
            assert len(nodes) == 2
            assert set(crew.nodes) == nodes
        finally:
            crew.close()
    finally:
        ray.shutdown()


def test_a_client_that_dies_ends_the_run(cluster: Any) -> None:
    plan = LoadPlan(Door(("http://127.0.0.1:1",), "b"), Shape(concurrent=2, processes=2, ray=cluster.address))
    crew = RayCrew(plan)
    try:
        crew.ready()
        now = time.monotonic()
        crew.begin(Begin(now, now, 0))
        ray.kill(crew._actors[1])
        with pytest.raises(LoadFailed, match="a client on another node died"):
            crew.gather(now + 60, lambda _: None)
    finally:
        crew.close()


def test_a_client_that_cannot_work_says_why(cluster: Any) -> None:
    shape = Shape(engine="torch", concurrent=2, processes=2, ray=cluster.address, duration_s=0.1)
    with pytest.raises(LoadFailed, match="cannot be listed"):
        run_load(LoadPlan(Door(("http://127.0.0.1:1",), "b"), shape, timeout_s=1))
