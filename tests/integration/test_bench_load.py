"""Workloads and open loops through the whole command, against a real server on a socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench.command import main
from bench.result import Result, parse_json
from bench.workloads import WORKLOADS
from tests.doubles.fake_s3 import FakeS3

SIZE, OBJECTS = 4096, 5


async def bench(fake: FakeS3, out: Path, *more: str) -> tuple[int, Result]:
    line = (
        f"--endpoint {fake.endpoint} --bucket b --access-key AK --secret-key SK --obj.size {SIZE} --objects {OBJECTS} "
        f"--concurrent 3 --duration 300ms --prefix p/ --json {out / 'r.json'}"
    )
    status = await asyncio.to_thread(main, [*line.split(), *more])
    return status, parse_json((out / "r.json").read_bytes())


def keys_left(fake: FakeS3) -> list[str]:
    written = {call.key for call in fake.calls if call.method == "PUT" and call.key}
    return [key for key in written if fake.shelf.find("b", key) is not None]


@pytest.mark.parametrize("workload", sorted(WORKLOADS))
async def test_every_workload_runs_without_an_error_and_leaves_nothing(tmp_path: Path, workload: str) -> None:
    async with FakeS3() as fake:
        status, result = await bench(fake, tmp_path, workload, "--processes", "2")
        assert (status, result.errors) == (0, {})
        assert result.requests > 0
        assert keys_left(fake) == []
        moved = sum(call.sent for call in fake.seen if call.method == "GET")
        sent = sum(kind.bytes for name, kind in result.kinds.items() if name == "PUT")
        assert result.bytes - sent == moved


async def test_all_processes_together_read_every_sample(tmp_path: Path) -> None:
    async with FakeS3() as fake:
        line = ("shuffle", "--range-size", "1000", "--processes", "2", "--noprepare", "--duration", "2s")
        for number in range(OBJECTS):
            fake.shelf.put("b", f"p/{SIZE}/{number:06d}", bytes(SIZE))
        status, result = await bench(fake, tmp_path, *line)
        read = {(seen.key, seen.span) for seen in fake.seen if seen.method == "GET"}
    assert (status, result.errors) == (0, {})
    assert len(read) == OBJECTS * 5  # five records each, the last of 96 bytes


async def test_mixed_does_all_kinds_in_their_shares(tmp_path: Path) -> None:
    async with FakeS3() as fake:
        status, result = await bench(fake, tmp_path, "mixed", "--list-distrib", "20", "--duration", "1s")
        assert (status, result.errors) == (0, {})
    assert set(result.kinds) == {"GET", "PUT", "STAT", "DELETE", "LIST"}
    assert sum(kind.requests for kind in result.kinds.values()) == result.requests
    assert result.kinds["PUT"].bytes == SIZE * result.kinds["PUT"].requests
    assert result.kinds["GET"].requests > result.kinds["DELETE"].requests


@pytest.mark.parametrize("engine", ["raw", "obstore"])
async def test_nobody_reads_a_checkpoint_before_it_is_written_whole(tmp_path: Path, engine: str) -> None:
    async with FakeS3() as fake:
        line = ("checkpoint", "--processes", "2", "--engine", engine, "--duration", "1s")
        status, result = await bench(fake, tmp_path, *line)
        order = [seen.method for seen in fake.seen if "checkpoint" in seen.key and seen.method in {"PUT", "GET"}]
    assert (status, result.errors) == (0, {})
    burst = OBJECTS + 3 * OBJECTS  # each object once, then by each of three clients
    whole = order[: len(order) // burst * burst]
    assert whole
    for at in range(0, len(whole), burst):
        assert whole[at : at + burst] == ["PUT"] * OBJECTS + ["GET"] * 3 * OBJECTS
    assert result.kinds["PUT"].requests == order.count("PUT")


@pytest.mark.parametrize("engine", ["raw", "boto3"])
async def test_an_open_loop_sees_a_server_that_stalls_once(tmp_path: Path, engine: str) -> None:
    async with FakeS3() as fake:
        fake.trouble(method="GET", skip=50, times=1, delay_s=0.8)
        line = ("--rate", "100", "--concurrent", "1", "--duration", "2s", "--engine", engine)
        status, result = await bench(fake, tmp_path, *line)
    assert (status, result.errors) == (0, {})
    assert result.service is not None
    assert result.requests + result.unsent == 200
    assert result.latency.p99_ms > 400  # 80 requests were due while the server stalled
    assert result.latency.p90_ms > 2 * result.service.p90_ms  # what a closed loop would have said
    assert result.service.max_ms > 790


async def test_a_rate_is_kept_by_all_processes_together(tmp_path: Path) -> None:
    async with FakeS3() as fake:
        status, result = await bench(
            fake, tmp_path, "--rate", f"{40 * SIZE}B/s", "--processes", "2", "--duration", "1s"
        )
    assert status == 0
    assert abs(result.requests + result.unsent - 40) <= 2
