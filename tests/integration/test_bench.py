from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench.beside_nginx import main as beside_nginx
from bench.command import main
from bench.engines import ENGINES
from bench.load import LoadFailed, run_load
from bench.plan import Door, LoadPlan, Shape
from bench.result import Result, parse_json
from bench.rounds import Comparison
from bench.servers.child import ServerFailed
from bench.servers.nginx import find_nginx
from tests.doubles.fake_s3 import FakeS3

SIZE, OBJECTS = 4096, 5
PNG = b"\x89PNG\r\n\x1a\n"


async def bench(fake: FakeS3, out: Path, *more: str) -> tuple[int, Result]:
    line = (
        f"--endpoint {fake.endpoint} --bucket b --access-key AK --secret-key SK --obj.size {SIZE} --objects {OBJECTS} "
        f"--concurrent 3 --duration 300ms --prefix p/ --gpus 2 --json {out / 'r.json'} --png {out / 'r.png'}"
    )
    status = await asyncio.to_thread(main, [*line.split(), *more])
    return status, parse_json((out / "r.json").read_bytes())


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("engine", sorted(ENGINES))
async def test_every_byte_that_the_server_sent_is_counted(tmp_path: Path, engine: str, processes: str) -> None:
    async with FakeS3() as fake:
        status, result = await bench(fake, tmp_path, "--engine", engine, "--processes", processes)
        reads = [seen for seen in fake.seen if seen.method == "GET"]
        assert status == 0
        assert (result.requests, result.failed) == (len(reads), 0)
        assert result.requests > 0
        assert result.bytes == result.requests * SIZE == sum(seen.sent for seen in reads)
        assert sum(result.latency_buckets.buckets.values()) == result.requests
        assert {seen.key for seen in reads} <= {f"p/{SIZE}/{number:06d}" for number in range(OBJECTS)}
        assert all(fake.shelf.find("b", seen.key) is None for seen in reads)  # removed again
    assert (tmp_path / "r.png").read_bytes().startswith(PNG)
    assert result.per_gpu.gb_per_s == pytest.approx(result.rates.gb_per_s / 2)
    assert result.machine.cores > 0


@pytest.mark.parametrize("engine", sorted(ENGINES))
async def test_ranges_are_ranges(tmp_path: Path, engine: str) -> None:
    async with FakeS3() as fake:
        status, result = await bench(fake, tmp_path, "range", "--range-size", "1000", "--engine", engine)
        spans = [call.span for call in fake.calls if call.method == "GET"]
    assert status == 0
    assert result.bytes == 1000 * len(spans) == 1000 * result.requests
    assert all(span is not None and span[1] - span[0] == 1000 and span[1] <= SIZE for span in spans)


async def test_what_was_there_is_neither_uploaded_again_nor_removed(tmp_path: Path) -> None:
    async with FakeS3() as fake:
        kept = f"p/{SIZE}/000003"
        fake.shelf.put("b", kept, bytes(SIZE))
        fake.shelf.put("b", "somebody's", b"own")
        fake.shelf.put("b", f"p/{SIZE}/000004", b"of another size")
        status, _ = await bench(fake, tmp_path)
        written = sorted(call.key for call in fake.calls if call.method == "PUT" and call.key)
        assert status == 0
        assert written == [f"p/{SIZE}/{number:06d}" for number in (0, 1, 2, 4)]
        assert fake.shelf.find("b", kept) is not None
        assert fake.shelf.find("b", "somebody's") is not None
        assert fake.shelf.find("b", f"p/{SIZE}/000000") is None


async def test_with_noclear_a_second_run_finds_its_objects(tmp_path: Path) -> None:
    async with FakeS3() as fake:
        await bench(fake, tmp_path, "--noclear")
        fake.forget()
        status, _ = await bench(fake, tmp_path, "--noclear")
        assert status == 0
        assert [call for call in fake.calls if call.method in {"PUT", "DELETE"} and call.key] == []


async def test_noprepare_touches_nothing(tmp_path: Path) -> None:
    async with FakeS3() as fake:
        for number in range(OBJECTS):
            fake.shelf.put("b", f"p/{SIZE}/{number:06d}", bytes(SIZE))
        status, _ = await bench(fake, tmp_path, "--noprepare")
        assert status == 0
        assert {call.method for call in fake.calls} == {"GET"}


async def test_errors_are_counted_by_their_code(tmp_path: Path) -> None:
    async with FakeS3() as fake:
        fake.trouble(method="GET", status=503, share=0.5)
        status, result = await bench(fake, tmp_path)
        assert status == 0
        assert result.errors == {"SlowDown": sum(call.status == 503 for call in fake.calls)}
        assert result.requests == sum(call.status == 200 for call in fake.calls if call.method == "GET")


async def test_a_short_body_is_no_success(tmp_path: Path) -> None:
    async with FakeS3() as fake:
        fake.trouble(method="GET", cut_after=1000)
        status, result = await bench(fake, tmp_path)
    assert status == 1
    assert (result.requests, result.bytes) == (0, 0)
    assert result.failed > 0


async def test_host_style_needs_no_name_server(tmp_path: Path) -> None:
    async with FakeS3(domain="127.0.0.1") as fake:
        status, result = await bench(fake, tmp_path, "--lookup", "host")
        hosts = {seen.headers["host"] for seen in fake.seen}
    assert (status, result.failed) == (0, 0)
    assert hosts == {f"b.127.0.0.1:{fake.port}"}


def test_nobody_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--endpoint", "http://127.0.0.1:1", "--duration", "100ms", "--objects", "1"])
    assert status == 1
    said = capsys.readouterr().err
    assert said == "forebay bench: the endpoint does not answer (ConnectionRefusedError)\n"


def test_bad_options_are_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--engine", "curl"]) == 2
    assert capsys.readouterr().err.startswith("forebay bench: argument --engine")


def test_help_names_warps_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for name in ("--host", "--obj.size", "--objects", "--concurrent", "--duration", "--lookup", "--noclear", "--gpus"):
        assert name in said


def test_a_client_that_cannot_work_says_why() -> None:
    plan = LoadPlan(Door(("http://127.0.0.1:1",), "b"), Shape(engine="boto3", duration_s=0.1, concurrent=1))
    door = Door(("not an endpoint",), "b")
    with pytest.raises(LoadFailed, match="not an endpoint"):
        run_load(LoadPlan(door, plan.shape))


def test_the_verb_starts_without_the_plots_library() -> None:
    code = (
        "import sys; import bench.command; print([m for m in ('matplotlib', 'boto3', 'aiohttp') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(said.stdout.replace("'", '"')) == []


def nginx_is_here() -> bool:
    try:
        find_nginx()
    except ServerFailed:
        return False
    return True


@pytest.mark.heavy
@pytest.mark.skipif(not nginx_is_here(), reason="nginx is not installed: bench/install-debian.sh")
def test_one_worker_beside_one_nginx_worker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"--rounds 2 --duration 200ms --sizes 4KiB,1MiB --concurrent 4 --out {tmp_path}"
    assert beside_nginx(line.split()) == 0
    assert "requests" in capsys.readouterr().out
    document = (tmp_path / "beside-nginx.json").read_bytes()
    comparison = msgspec.json.decode(document, type=Comparison)
    assert len(comparison.samples) == 2 * 2 * 2
    for sample in comparison.samples:
        assert (sample.failed, sample.bytes) == (0, sample.requests * sample.object_bytes)
        assert 0 < sample.cpu_s < 2 * sample.wall_s
    assert (tmp_path / "beside-nginx.png").read_bytes().startswith(PNG)
    assert b"a-secret" not in document
