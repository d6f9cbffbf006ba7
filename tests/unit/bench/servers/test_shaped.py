from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.servers.shaped import parse_ask, serve_shaped, size_of, span_of


@pytest.mark.parametrize(
    ("path", "size"), [("/b/p/4096/000001", 4096), ("/b/4096/1", 4096), ("/b/4096", None), ("/b/x/1", None)]
)
def test_a_key_names_its_size(path: str, size: int | None) -> None:
    assert size_of(path) == size


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("", None),
        ("bytes=0-9", (0, 10)),
        ("bytes=5-", (5, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=90-999", (90, 100)),
    ],
)
def test_ranges(header: str, span: tuple[int, int] | None) -> None:
    assert span_of(header, 100) == span


def test_a_head() -> None:
    ask = parse_ask(b"PUT /b/a%20b?x=1 HTTP/1.1\r\nContent-Length: 5\r\nHost: h")
    assert (ask.method, ask.path, ask.length, ask.headers["host"]) == ("PUT", "/b/a b", 5, "h")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_shaped(tmp_path_factory.mktemp("shaped"), first_byte_s=0.0, rate=0.0) as listening:
        yield listening.endpoint


def get(url: str, **headers: str) -> tuple[int, bytes]:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        return answer.status, answer.read()


def test_the_same_bytes_whole_and_in_ranges_and_each_is_counted(endpoint: str) -> None:
    get(f"{endpoint}/-/forget")
    size = 17 * 1024 * 1024  # more than the pool, so that it begins again
    _, whole = get(f"{endpoint}/b/p/{size}/0")
    status, part = get(f"{endpoint}/b/p/{size}/0", Range="bytes=16777000-16777999")
    assert (len(whole), status) == (size, 206)
    assert part == whole[16777000:16778000]
    counts = json.loads(get(f"{endpoint}/-/counts")[1])
    path = f"/b/p/{size}/0"
    assert sorted(counts) == [["GET", path, "", 1], ["GET", path, "bytes=16777000-16777999", 1]]


def test_a_put_is_taken_and_a_missing_key_is_missing(endpoint: str) -> None:
    request = urllib.request.Request(f"{endpoint}/b/k", data=bytes(1_000_000), method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{endpoint}/b/k")


def test_it_is_late_and_slow(tmp_path: Path) -> None:
    with serve_shaped(tmp_path, first_byte_s=0.05, rate=10e6) as listening:
        began = time.monotonic()
        get(f"{listening.endpoint}/b/p/2000000/0")
        assert time.monotonic() - began >= 0.2  # 50 ms, then 2 MB at 10 MB/s, the first slice at once
