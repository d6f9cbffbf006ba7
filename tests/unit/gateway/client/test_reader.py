"""The reader over a real server: right bytes, few requests, and no byte of a cut or a replaced object."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.client.endpoint import Gateway
from gateway.client.errors import (
    AccessDenied,
    GatewayError,
    GatewayUnreachable,
    ObjectChanged,
    ObjectNotFound,
    RangeOutside,
)
from gateway.client.reader import Reader
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3

ODD_KEYS = [
    "a b",
    "ü/é",
    "a+b",
    "a%20b",
    "/lead",
    "a//b",
    "../up",
    ".",
    "q?x=1&y",
    "tab\tx",
    "#",
    "a;b,c:d@e=f$g",
    "~*'()!",
]


@pytest.mark.parametrize("size", [1, 999, 1000, 1001, 2000, 12_345])
def test_whole_objects(fake: FakeS3, reader: Reader, size: int) -> None:
    fake.shelf.generate("b", "k", size, version=1)
    body = body_of("k", 1, 0, size)
    assert reader.read("b", "k") == body
    parts = -(-size // 1000)
    assert len(fake.calls_of("GET", "k")) == parts
    assert all("if-match" in seen.headers for seen in fake.seen[1:])
    buffer = bytearray(size + 10)
    assert reader.read_into("b", "k", buffer) == size
    assert buffer == body + bytes(10)
    with reader.open("b", "k") as stream:
        assert stream.read() == body


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 4999), st.integers(0, 6000))
def test_ranges_are_slices(fake: FakeS3, reader: Reader, start: int, length: int) -> None:
    if "b" not in fake.shelf.buckets:
        fake.shelf.generate("b", "k", 5000, version=1)
    body = body_of("k", 1, 0, 5000)
    assert reader.read("b", "k", start, start + length) == body[start : start + length]
    assert reader.read("b", "k", start) == body[start:]
    buffer = bytearray(length)
    count = reader.read_into("b", "k", buffer, start)
    assert bytes(buffer[:count]) == body[start : start + length]


def test_an_empty_object(fake: FakeS3, reader: Reader) -> None:
    fake.shelf.put("b", "k", b"")
    assert reader.read("b", "k") == b""
    assert reader.read_into("b", "k", bytearray(5)) == 0
    assert reader.read_into("b", "k", bytearray(0)) == 0
    with reader.open("b", "k") as stream:
        assert stream.read() == b""


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_keys(fake: FakeS3, reader: Reader, key: str) -> None:
    fake.shelf.put("b", key, key.encode())
    assert reader.read("b", key) == key.encode()
    assert reader.head("b", key).size == len(key.encode())
    assert [info.key for page in reader.pages("b") for info in page.objects] == [key]


def test_errors_are_clear(fake: FakeS3, reader: Reader) -> None:
    fake.shelf.put("b", "k", b"12345")
    fake.trouble(key="denied", status=403, code="AccessDenied")
    with pytest.raises(ObjectNotFound, match="GET b/none: 404 NoSuchKey"):
        reader.read("b", "none")
    with pytest.raises(ObjectNotFound, match="HEAD b/none"):
        reader.head("b", "none")
    with pytest.raises(ObjectNotFound, match="NoSuchBucket"):
        next(reader.pages("nowhere"))
    with pytest.raises(AccessDenied):
        reader.read_many("b", ["k", "denied"])
    with pytest.raises(RangeOutside):
        reader.read("b", "k", 6)
    with pytest.raises(RangeOutside):
        reader.read_into("b", "k", bytearray(1), 9)
    with pytest.raises(ValueError, match="negative"):
        reader.read("b", "k", -1)
    with pytest.raises(ValueError, match="part_bytes"):
        Reader(part_bytes=0)


def test_listings_go_over_all_pages(fake: FakeS3, reader: Reader) -> None:
    for number in range(25):
        fake.shelf.put("b", f"p/{number:02}", b"x" * number)
    fake.shelf.put("b", "q", b"")
    pages = list(reader.pages("b", "p/", keys_max=10))
    assert [len(page.objects) for page in pages] == [10, 10, 5]
    assert [info.size for page in pages for info in page.objects] == list(range(25))
    (root,) = reader.pages("b", delimiter="/")
    assert (root.prefixes, [info.key for info in root.objects]) == (("p/",), ["q"])
    assert reader.buckets() == ("b",)


@pytest.mark.parametrize(
    "trouble",
    [{"cut_after": 500}, {"cut_after": 0, "reset": True}, {"status": 503}, {"status": 500}, {"drop": True}]
    + [{"wrong": wrong} for wrong in ("shifted", "short", "longer", "total", "no_range")],
    ids=str,
)
def test_what_goes_wrong_once_is_read_again(fake: FakeS3, reader: Reader, trouble: dict[str, Any]) -> None:
    fake.shelf.generate("b", "k", 3500, version=1)
    struck = fake.trouble(key="k", times=2, skip=1, **trouble)
    assert reader.read("b", "k") == body_of("k", 1, 0, 3500)
    assert struck.applied == 2
    fake.calm()
    fake.trouble(key="k", times=1, **trouble)
    buffer = bytearray(3500)
    assert reader.read_into("b", "k", buffer) == 3500
    assert buffer == body_of("k", 1, 0, 3500)


def test_a_body_that_is_always_short_is_never_returned(
    fake: FakeS3, gateway: Gateway, reader_of: Callable[..., Reader]
) -> None:
    fake.shelf.generate("b", "k", 2500, version=1)
    fake.trouble(key="k", cut_after=100, skip=1)
    reader = reader_of(replace(gateway, attempts=2))
    with pytest.raises(GatewayUnreachable, match=r"attempt 2"):
        reader.read("b", "k")
    with pytest.raises(GatewayUnreachable), reader.open("b", "k") as stream:
        stream.read()


def test_an_object_replaced_in_between_is_begun_again(fake: FakeS3, reader: Reader) -> None:
    fake.shelf.put("b", "k", b"1" * 3500)
    fake.trouble(key="k", status=412, code="PreconditionFailed", skip=1, times=1)
    assert reader.read("b", "k") == b"1" * 3500
    etag = reader.head("b", "k").etag
    assert reader.read("b", "k", 0, 2000, etag=etag) == b"1" * 2000
    with reader.open("b", "k", parts_ahead=1) as stream:
        stream.read(10)
        fake.shelf.put("b", "k", b"2" * 3500)
        with pytest.raises(ObjectChanged):
            stream.read()
    with pytest.raises(ObjectChanged):
        reader.read("b", "k", etag=etag)
    fake.trouble(key="k", status=412, code="PreconditionFailed")
    with pytest.raises(ObjectChanged):
        reader.read("b", "k")


def test_one_part_of_many_fails_for_good(fake: FakeS3, gateway: Gateway, reader_of: Callable[..., Reader]) -> None:
    fake.shelf.generate("b", "k", 20_000, version=1)
    fake.trouble(key="k", status=500, skip=5)
    with pytest.raises(GatewayError) as caught:
        reader_of(replace(gateway, attempts=1)).read("b", "k")
    assert caught.value.status == 500


def test_threads_share_a_reader(fake: FakeS3, reader: Reader) -> None:
    for number in range(30):
        fake.shelf.generate("b", f"k{number}", 2500, version=1)
    keys = [f"k{number}" for number in range(30)]
    wanted = [body_of(key, 1, 0, 2500) for key in keys]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda key: reader.read("b", key), keys)) == wanted
    assert reader.read_many("b", keys) == wanted
    assert reader.each(lambda key: reader.head("b", key).size, keys) == [2500] * 30


def test_a_reader_may_be_used_after_its_close(fake: FakeS3, gateway: Gateway) -> None:
    fake.shelf.put("b", "k", b"x")
    with Reader(gateway) as reader:
        assert reader.read_many("b", ["k"]) == [b"x"]
    assert reader.read_many("b", ["k"]) == [b"x"]
    reader.close()


def _digest(reader: Reader, keys: list[str]) -> str:
    try:
        return hashlib.sha256(b"".join(reader.read_many("b", keys))).hexdigest()
    finally:
        reader.close()


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_child_processes_have_their_own_connections(fake: FakeS3, gateway: Gateway, way: str) -> None:
    """The parent's sockets are warm and its threads run when the child starts; both go on reading."""
    keys = [f"k{number}" for number in range(8)]
    for key in keys:
        fake.shelf.generate("b", key, 25_000, version=1)
    wanted = hashlib.sha256(b"".join(body_of(key, 1, 0, 25_000) for key in keys)).hexdigest()
    with Reader(gateway, part_bytes=10_000) as reader:
        reader.read_many("b", keys)
        with multiprocessing.get_context(way).Pool(2) as pool:
            there = [pool.apply_async(_digest, (reader, keys)) for _ in range(4)]
            here = [hashlib.sha256(b"".join(reader.read_many("b", keys))).hexdigest() for _ in range(3)]
            assert {answer.get(30) for answer in there} | set(here) == {wanted}


def test_a_fork_inherits_the_reader_itself(fake: FakeS3, gateway: Gateway) -> None:
    fake.shelf.generate("b", "k", 50_000, version=1)
    with Reader(gateway, part_bytes=10_000) as reader:
        body = reader.read("b", "k")
        child = os.fork()
        if child == 0:
            os._exit(0 if reader.read("b", "k") == body else 1)
        assert reader.read("b", "k") == body
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_reader_travels_as_its_gateway(gateway: Gateway) -> None:
    copy = pickle.loads(pickle.dumps(Reader(gateway, part_bytes=7)))
    assert (copy.gateway, copy.part_bytes) == (gateway, 7)


BLOCKED = ["aiohttp", "lmdb", "pydantic", "pydantic_settings", "uvloop", "aiobotocore", "awscrt", "msgspec", "numpy"]


def test_the_package_needs_none_of_the_servers_dependencies() -> None:
    script = f"""
import sys
for name in {[*BLOCKED, "structlog", "typer", "rich", "prometheus_client", "torch", "boto3", "defusedxml"]!r}:
    sys.modules[name] = None
import gateway.client.reader, gateway.client.torch
import gateway.client.fsspec
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
