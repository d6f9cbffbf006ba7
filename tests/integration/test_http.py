"""The client's side of a worker, over raw sockets: both ways to an answer, and what a connection must survive."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from cache.tally import Count
from gateway.meter import layout
from gateway.s3.sigv4 import EMPTY_SHA256, Credentials, presign, sign
from tests.gateway import ACCESS_KEY, SECRET_KEY, RunningWorker, running_worker

MIB = 1 << 20
KEYS = Credentials(ACCESS_KEY, SECRET_KEY)
CHUNKED_GET = b"GET / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"


def request(method: str, target: str, credentials: Credentials | None = KEYS, **extra: str) -> bytes:
    path, _, query = target.partition("?")
    headers = {"host": "127.0.0.1", **{name.replace("_", "-"): value for name, value in extra.items()}}
    if credentials is not None:
        headers |= sign(method, path, query, headers, EMPTY_SHA256, credentials, "us-east-1", time.time())
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode()


def settled(answer: bytes) -> bytes:
    """The answer without what differs from one to the next."""
    answer = re.sub(rb"(x-amz-request-id|x-amz-id-2|date): [^\r]*", rb"\1: *", answer)
    return re.sub(rb"<(RequestId|HostId)>[^<]*", rb"<\1>*", answer)


class Wire:
    """One connection, on which answers are read one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, worker: RunningWorker) -> Wire:
        return cls(*await asyncio.open_connection("127.0.0.1", worker.port))

    async def ask(self, head: bytes) -> bytes:
        self.writer.write(head)
        return await self.answer(head.startswith(b"HEAD"))

    async def answer(self, bodyless: bool = False) -> bytes:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if bodyless or length is None:
            return head
        return head + await self.reader.readexactly(int(length[1]))

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


@pytest.fixture
async def worker(tmp_path):
    async with running_worker(tmp_path) as running:
        running.fake.shelf.generate("data", "small", 4000)
        running.fake.shelf.generate("data", "large", 3 * MIB + 17)
        running.fake.shelf.put("data", "empty", b"")
        running.fake.shelf.put("data", "odd/../k+ey é", b"odd", {"x-amz-meta-colour": "blue"})
        yield running


def body_of(worker: RunningWorker, key: str) -> bytes:
    stored = worker.fake.shelf.buckets["data"][key]
    return stored.read(0, stored.size)


READS = [
    ("GET", "/data/small", {}),
    ("HEAD", "/data/small", {}),
    ("GET", "/data/large", {}),
    ("GET", "/data/large", {"range": "bytes=0-0"}),
    ("GET", "/data/large", {"range": "bytes=1048570-2097160"}),
    ("GET", "/data/large", {"range": "bytes=-5"}),
    ("GET", "/data/large", {"range": "bytes=3145740-"}),
    ("HEAD", "/data/large", {"range": "bytes=5-9"}),
    ("GET", "/data/large", {"range": "bytes=0-1,5-6"}),
    ("GET", "/data/large", {"range": "bytes=9-5"}),
    ("GET", "/data/large", {"range": "bytes=99999999-"}),
    ("GET", "/data/empty", {}),
    ("GET", "/data/empty", {"range": "bytes=0-0"}),
    ("GET", "/data/odd/../k+ey%20%C3%A9", {}),
    ("GET", "/data/small", {"if_none_match": "*"}),
    ("GET", "/data/small", {"if_match": '"nothing"'}),
    ("GET", "/data/small", {"if_modified_since": "Sat, 01 Jan 2050 00:00:00 GMT"}),
    ("GET", "/data/small", {"range": "bytes=0-9", "if_range": '"nothing"'}),
    ("GET", "/data/small", {"x_amz_checksum_mode": "ENABLED"}),
    ("GET", "/data/small?response-content-type=text%2Fplain", {}),
    ("GET", "/data/missing", {}),
    ("HEAD", "/data/missing", {}),
]


@pytest.mark.parametrize(("method", "target", "headers"), READS)
async def test_lane_and_aiohttp_answer_alike(worker, method, target, headers):
    head = request(method, target, **headers)
    slow = await Wire.open(worker)
    await slow.ask(CHUNKED_GET)
    warming = await slow.ask(head)
    await worker.worker._fills.settled()
    expected = await slow.ask(head)
    taken = worker.meter.tally.words[Count.LANE_ANSWERS]
    fast = await Wire.open(worker)
    assert settled(await fast.ask(head)) == settled(expected)
    assert settled(await fast.ask(head)) == settled(expected)
    status = int(expected[9:12])
    assert (worker.meter.tally.words[Count.LANE_ANSWERS] == taken + 2) == (status < 400)
    assert warming[:12] == expected[:12]
    await slow.close()
    await fast.close()


async def test_bytes_are_upstreams(worker):
    wire = await Wire.open(worker)
    for _ in range(3):
        whole = await wire.ask(request("GET", "/data/large"))
        assert whole.partition(b"\r\n\r\n")[2] == body_of(worker, "large")
        part = await wire.ask(request("GET", "/data/large", range="bytes=1000000-2500000"))
        assert part.startswith(b"HTTP/1.1 206 ")
        assert b"content-range: bytes 1000000-2500000/3145745\r\n" in part
        assert part.partition(b"\r\n\r\n")[2] == body_of(worker, "large")[1_000_000:2_500_001]
    await wire.close()


async def test_a_checksum_never_goes_out_with_a_range(worker):
    wire = await Wire.open(worker)
    for _ in range(2):
        answer = await wire.ask(request("GET", "/data/small", range="bytes=0-99", x_amz_checksum_mode="ENABLED"))
        assert b"x-amz-checksum-" not in answer
    await wire.close()


async def test_pipelined_requests_are_answered_in_order(worker):
    wire = await Wire.open(worker)
    targets = ["/data/large", "/data/small", "/data/large", "/data/missing", "/data/small"] * 3
    wire.writer.write(b"".join(request("GET", target) for target in targets))
    for target in targets:
        answer = await wire.answer()
        key = target.removeprefix("/data/")
        if key == "missing":
            assert answer.startswith(b"HTTP/1.1 404 ")
        else:
            assert answer.partition(b"\r\n\r\n")[2] == body_of(worker, key)
    await wire.close()


async def test_a_head_that_comes_in_pieces_is_put_together(worker):
    head = request("GET", "/data/small")
    wire = await Wire.open(worker)
    await wire.ask(head)
    for cut in (1, 10, len(head) // 2, len(head) - 3, len(head) - 1):
        wire.writer.write(head[:cut])
        await wire.writer.drain()
        await asyncio.sleep(0)
        assert (await wire.ask(head[cut:])).partition(b"\r\n\r\n")[2] == body_of(worker, "small")
    await wire.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\nhost: x\n\n",
        b"GET /data/small HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
        b"GET /data/small HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET /data/small HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ],
)
async def test_what_is_no_request_gets_a_400_and_costs_only_its_connection(worker, raw):
    answer = await worker.send(raw)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"<Code>Invalid" in answer
    assert (await worker.send(request("GET", "/data/small", connection="close"))).startswith(b"HTTP/1.1 200 ")


async def test_the_unsigned_and_the_unentitled_are_refused_alike_hit_or_miss(worker):
    wire = await Wire.open(worker)
    await wire.ask(request("GET", "/data/small"))
    limited = Credentials("LIMITEDKEY", "limited-secret-key")
    wrong = Credentials(ACCESS_KEY, "wrong")
    for credentials, code in ((None, b"AccessDenied"), (limited, b"AccessDenied"), (wrong, b"SignatureDoesNotMatch")):
        answers = [await wire.ask(request("GET", f"/data/{key}", credentials)) for key in ("small", "large", "missing")]
        assert all(answer.startswith(b"HTTP/1.1 403 ") and code in answer for answer in answers)
        assert {answer.count(b"\r\n") for answer in answers} == {answers[0].count(b"\r\n")}
    await wire.close()
    assert worker.fake.calls_of("GET", "large") == []


async def test_a_presigned_url_reads(worker):
    url = presign("GET", f"{worker.endpoint}/data/small", KEYS, region="us-east-1", now=time.time(), expires_s=60)
    target = url.removeprefix(worker.endpoint)
    head = f"GET {target} HTTP/1.1\r\nhost: 127.0.0.1:{worker.port}\r\n\r\n".encode()
    wire = await Wire.open(worker)
    for _ in range(2):
        assert (await wire.ask(head)).partition(b"\r\n\r\n")[2] == body_of(worker, "small")
    await wire.close()


async def test_a_put_expecting_100_is_invited_and_a_refused_one_is_not(worker):
    head = request("PUT", "/data/new", expect="100-continue", content_length="5")
    wire = await Wire.open(worker)
    wire.writer.write(head.replace(EMPTY_SHA256.encode(), b"UNSIGNED-PAYLOAD"))
    answer = await wire.reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 ")
    await wire.close()
    headers = {"host": "127.0.0.1", "content-length": "5", "expect": "100-continue"}
    headers |= sign("PUT", "/data/new", "", headers, "UNSIGNED-PAYLOAD", KEYS, "us-east-1", time.time())
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    wire = await Wire.open(worker)
    wire.writer.write(f"PUT /data/new HTTP/1.1\r\n{lines}\r\n".encode())
    assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await wire.ask(b"hello")).startswith(b"HTTP/1.1 200 ")
    assert (await wire.ask(request("GET", "/data/new"))).endswith(b"\r\n\r\nhello")
    await worker.worker._fills.settled()
    taken = worker.meter.tally.words[Count.LANE_ANSWERS]
    assert (await wire.ask(request("GET", "/data/new"))).endswith(b"\r\n\r\nhello")
    assert worker.meter.tally.words[Count.LANE_ANSWERS] == taken + 1
    await wire.close()


async def test_a_client_that_dawdles_over_its_head_is_cut(tmp_path):
    async with running_worker(tmp_path, server={"header_timeout_s": 0.2}) as worker:
        wire = await Wire.open(worker)
        wire.writer.write(b"GET /data/small HTTP/1.1\r\nhost")
        assert await wire.reader.read() == b""
        await wire.close()


async def test_a_client_that_leaves_in_mid_body_costs_nothing(worker):
    worker.fake.shelf.generate("data", "huge", 64 * MIB)
    for _ in range(5):
        wire = await Wire.open(worker)
        wire.writer.write(request("GET", "/data/huge"))
        await wire.reader.readexactly(100_000)
        wire.writer.transport.abort()
    wire = await Wire.open(worker)
    assert (await wire.ask(request("GET", "/data/small"))).startswith(b"HTTP/1.1 200 ")
    await wire.close()


async def test_bytes_that_change_while_a_slow_client_waits_are_never_sent(worker):
    size = 24 * MIB
    worker.fake.shelf.generate("data", "wide", size)
    wire = await Wire.open(worker)
    await wire.ask(request("GET", "/data/wide"))
    await worker.worker._fills.settled()
    taken = worker.meter.tally.words[Count.LANE_ANSWERS]
    wire.writer.write(request("GET", "/data/wide"))
    await wire.reader.readuntil(b"\r\n\r\n")
    received = await wire.reader.readexactly(100_000)
    assert worker.meter.tally.words[Count.LANE_ANSWERS] == taken + 1
    in_flight = 16 * MIB  # what the socket holds are pages of the file: nobody can check those again
    for path in (worker.cache / "chunks").glob("??/*"):
        with path.open("r+b") as file:
            if body_of(worker, "wide").index(file.read(64)) < in_flight:
                continue
            file.seek(1000)
            byte = file.read(1)
            file.seek(1000)
            file.write(bytes([byte[0] ^ 1]))
    while data := await wire.reader.read(1 << 20):
        received += data
    assert len(received) < size
    assert received == body_of(worker, "wide")[: len(received)]
    await wire.close()
    again = await Wire.open(worker)
    assert (await again.ask(request("GET", "/data/wide"))).partition(b"\r\n\r\n")[2] == body_of(worker, "wide")
    await again.close()


async def test_the_meter_counts_what_the_sockets_took(worker):
    received = 0
    wire = await Wire.open(worker)
    for target in ("/data/large", "/data/small", "/data/large", "/data/missing", "/data/empty") * 2:
        received += len(await wire.ask(request("GET", target)))
    received += len(await wire.ask(request("GET", "/data/small", None)))
    received += len(await wire.ask(request("GET", "/data/large", range="bytes=1-77")))
    await wire.close()
    received += len(await worker.send(b"nonsense\r\n\r\n"))
    sent = 0
    for meter in worker.meter._clients.values():
        sent += sum(meter._body) + meter._words[layout.HEAD]
    assert sent == received
