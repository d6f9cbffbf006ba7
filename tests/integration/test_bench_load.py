"""Workloads and open loops through the whole command, against a real server on a socket."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench.client import Progress
from bench.command import main
from bench.engines import ENGINES, WHOLE_ONLY
from bench.load import run_load
from bench.operations import name_objects
from bench.plan import Door, LoadPlan, Shape
from bench.recorder import LoadReport
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


def gets(fake: FakeS3) -> int:
    return sum(seen.method == "GET" and bool(seen.key) for seen in fake.seen)


async def warmed_run(fake: FakeS3, heard: list[Progress], **shape: object) -> tuple[LoadReport, int]:
    """The report of a run of 0.3 s after a warm-up of as much, and how much the server had served by ``on_begin``."""
    for each in name_objects("p/", SIZE, OBJECTS):
        fake.shelf.put("b", each.key, bytes(SIZE))
    whole = Shape(prefix="p/", object_bytes=SIZE, objects=OBJECTS, concurrent=4, duration_s=0.3, warmup_s=0.3)
    plan = LoadPlan(Door((fake.endpoint,), "b", "AK", "SK"), msgspec.structs.replace(whole, **shape))
    before: list[int] = []
    report = await asyncio.to_thread(run_load, plan, heard.append, on_begin=lambda: before.append(gets(fake)))
    return report, before[0]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("engine", sorted(ENGINES.keys() - WHOLE_ONLY))
async def test_a_warm_up_is_load_that_nobody_counts(engine: str, processes: int) -> None:
    async with FakeS3() as fake:
        heard: list[Progress] = []
        report, before = await warmed_run(fake, heard, engine=engine, processes=processes)
        assert before > 0
        assert report.errors == {}
        assert report.requests == gets(fake) - before > 0
        assert report.bytes == report.requests * SIZE == sum(each.sent for each in fake.seen[before:])
        assert report.total.histogram().count == sum(report.interval_requests) == report.requests
        assert all(each.requests <= report.requests and each.failed == 0 for each in heard)


@pytest.mark.parametrize("engine", ["raw", "obstore"])
async def test_the_schedule_of_an_open_loop_begins_after_the_warm_up(engine: str) -> None:
    async with FakeS3() as fake:
        report, before = await warmed_run(fake, [], engine=engine, rate=100.0)
        assert 0 < before <= 30
        assert report.requests == gets(fake) - before
        assert report.requests + report.unsent == 30


@pytest.mark.parametrize("engine", ["raw", "obstore"])
async def test_an_epoch_goes_on_where_the_warm_up_ended(engine: str) -> None:
    async with FakeS3() as fake:  # one epoch: more samples than are read
        report, before = await warmed_run(fake, [], engine=engine, workload="shuffle", range_bytes=1)
        read = [(seen.key, seen.span) for seen in fake.seen if seen.method == "GET"]
    assert 0 < before < len(read) == before + report.requests < SIZE * OBJECTS
    assert len(set(read)) == len(read)


@pytest.mark.parametrize("workload", sorted(WORKLOADS.keys() - {"checkpoint"}))
async def test_every_endless_workload_has_a_warm_up(tmp_path: Path, workload: str) -> None:
    async with FakeS3() as fake:
        status, result = await bench(fake, tmp_path, workload, "--processes", "2", "--warmup", "300ms")
        assert (status, result.errors, result.shape.warmup_s) == (0, {}, 0.3)
        assert 0 < result.requests < sum(bool(seen.key) for seen in fake.seen) - 2 * OBJECTS
        assert keys_left(fake) == []


async def interrupted(fake: FakeS3, key: str, code: str, *args: str) -> int:
    """Run ``code`` in a process of its own, interrupt it when it has read ``key`` 50 times; its exit status."""
    code = f"import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); {code}"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, *args, stdout=subprocess.DEVNULL)
    await fake.waiting(key, 50, "GET")
    process.send_signal(signal.SIGINT)
    return await process.wait()


async def test_an_interrupted_warm_up_ends_the_run_with_nothing(tmp_path: Path) -> None:
    async with FakeS3() as fake:
        key = f"p/{SIZE}/000000"
        line = (
            f"--endpoint {fake.endpoint} --bucket b --obj.size {SIZE} --objects 1 --prefix p/ --warmup 60s "
            f"--processes 2 --concurrent 2 --json {tmp_path / 'r.json'} --server-pid {os.getpid()}"
        )
        code = "from bench.command import main; sys.exit(main(sys.argv[1:]))"
        assert await interrupted(fake, key, code, *line.split()) == 1
        result = parse_json((tmp_path / "r.json").read_bytes())
        assert (result.requests, result.bytes, result.errors) == (0, 0, {})
        assert sum(result.rates.interval_gb_per_s) == 0
        assert fake.shelf.find("b", key) is None


async def test_an_interrupted_warm_up_ends_a_comparison() -> None:
    async with FakeS3() as fake:
        fake.shelf.put("bench", f"{64 << 20}/000000", bytes(64))
        code = (
            "from bench.peers import Terms, measure; from bench.rounds import Case; "
            "from bench.servers.child import Listening\n"
            "if __name__ == '__main__':\n"
            "  terms = Terms((), (), 1, 1.0, 2, (), (), 'raw', 60.0)\n"
            "  try: measure(terms, Listening('fake', sys.argv[1], int(sys.argv[2])), Case(64 << 20), 0)\n"
            "  except KeyboardInterrupt: sys.exit(130)"
        )
        assert await interrupted(fake, f"{64 << 20}/000000", code, fake.endpoint, str(os.getpid())) == 130
