from __future__ import annotations

import asyncio
import http.server
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from bench.command import main
from bench.engines import ENGINES, WHOLE_ONLY
from bench.load import LoadFailed, run_load
from bench.peers_command import main as peers
from bench.plan import Door, LoadPlan, Shape
from bench.result import Result, parse_json
from bench.rounds import Comparison
from bench.servers.child import ServerFailed
from bench.servers.nginx import find_nginx
from tests.doubles.fake_s3 import FakeS3

SIZE, OBJECTS, BATCH = 4096, 5, 2
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
        line = ("--engine", engine, "--processes", processes, "--batch", str(BATCH))
        status, result = await bench(fake, tmp_path, *line)
        reads = [seen for seen in fake.seen if seen.method == "GET" and seen.key]
        each = BATCH if engine == "torch" else 1
        assert status == 0
        assert (result.requests * each, result.failed) == (len(reads), 0)
        assert result.requests > 0
        assert result.bytes == len(reads) * SIZE == sum(seen.sent for seen in reads)
        assert sum(result.latency_buckets.buckets.values()) == result.requests
        assert {seen.key for seen in reads} <= {f"p/{SIZE}/{number:06d}" for number in range(OBJECTS)}
        assert all(fake.shelf.find("b", seen.key) is None for seen in reads)  # removed again
    assert (tmp_path / "r.png").read_bytes().startswith(PNG)
    assert result.per_gpu.gb_per_s == pytest.approx(result.rates.gb_per_s / 2)
    assert result.machine.cores > 0


async def test_the_report_is_one_file_and_says_what_a_request_cost(tmp_path: Path) -> None:
    async with FakeS3() as fake:
        more = ["--html", str(tmp_path / "r.html"), "--server-pid", str(os.getpid())]  # the fake is in this process
        status, result = await bench(fake, tmp_path, *more)
    assert status == 0
    assert result.cost is not None
    assert result.cost.us_per_request > 0
    assert result.cost.use.client_cpu_s > 0
    page = (tmp_path / "r.html").read_text()
    assert "CPU seconds" in page
    assert "SK" not in result.command.split()


@pytest.mark.parametrize("engine", sorted(ENGINES.keys() - WHOLE_ONLY))
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


async def test_what_was_uploaded_before_preparation_failed_is_removed(tmp_path: Path) -> None:
    async with FakeS3() as fake:
        fake.trouble(method="PUT", key=f"p/{SIZE}/000002", status=403, code="AccessDenied")
        line = f"--endpoint {fake.endpoint} --bucket b --obj.size {SIZE} --objects {OBJECTS} --prefix p/ --duration 1s"
        assert await asyncio.to_thread(main, line.split()) == 1
        written = {call.key for call in fake.calls if call.method == "PUT" and call.status == 200 and call.key}
        removed = {call.key for call in fake.calls if call.method == "DELETE"}
        assert written == removed


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


_INTERRUPTIBLE = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from bench.command import main; sys.exit(main(sys.argv[1:]))"
)


async def test_an_interrupted_run_reports_what_it_measured_and_clears_up(tmp_path: Path) -> None:
    async with FakeS3() as fake:
        key = f"p/{SIZE}/000000"
        line = (
            f"--endpoint {fake.endpoint} --bucket b --obj.size {SIZE} --objects 1 --prefix p/ --duration 60s "
            f"--processes 2 --concurrent 2 --json {tmp_path / 'r.json'}"
        )
        command = [sys.executable, "-c", _INTERRUPTIBLE, *line.split()]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
        await fake.waiting(key, 50, "GET")
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        result = parse_json((tmp_path / "r.json").read_bytes())
        assert 0 < result.rates.window_s < 60
        assert result.requests == len(fake.calls_of("GET", key))
        assert fake.shelf.find("b", key) is None


class Greeter(http.server.BaseHTTPRequestHandler):
    """Says hello to every GET."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        return


def certificate(path: Path) -> str:
    """A certificate that nobody trusts, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    signed = made.sign(key, hashes.SHA256())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + signed.public_bytes(Encoding.PEM))
    return str(path)


def test_tls_with_and_without_trust(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path / "pair.pem"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Greeter) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        line = (
            f"--host 127.0.0.1:{server.server_port} --tls --noprepare --objects 1 --obj.size 5 --duration 300ms "
            f"--concurrent 2 --json {tmp_path / 'r.json'}"
        )
        try:
            assert main([*line.split(), "--insecure"]) == 0
            trusted = parse_json((tmp_path / "r.json").read_bytes())
            assert main(line.split()) == 1
            doubted = parse_json((tmp_path / "r.json").read_bytes())
        finally:
            server.shutdown()
            thread.join()
    assert (trusted.failed, trusted.bytes) == (0, 5 * trusted.requests)
    assert (doubted.requests, set(doubted.errors)) == (0, {"SSLCertVerificationError"})


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
    assert peers(line.split(), quick=True) == 0
    assert "requests" in capsys.readouterr().out
    document = (tmp_path / "beside-nginx.json").read_bytes()
    comparison = msgspec.json.decode(document, type=Comparison)
    assert len(comparison.samples) == 2 * 2 * 2
    for sample in comparison.samples:
        assert (sample.failed, sample.bytes) == (0, sample.requests * sample.case.object_bytes)
        assert 0 < sample.cpu_s < 2 * sample.wall_s
    assert (tmp_path / "beside-nginx.png").read_bytes().startswith(PNG)
    assert (tmp_path / "beside-nginx.html").read_text().startswith("<!doctype html>")
    assert b"a-secret" not in document
