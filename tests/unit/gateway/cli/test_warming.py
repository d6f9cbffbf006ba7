"""Warming a prefix, against a real server that counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.progress import Progress

from gateway.cli.ends import Failed
from gateway.cli.warming import Source, Warming, find_keys, parse_endpoint, parse_source
from gateway.identities import generate_identities
from gateway.s3.sigv4 import Credentials
from gateway.sources import BadSetting
from tests.doubles.fake_s3 import FakeS3

KEYS = Credentials("AK", "SK", "TOKEN")


async def warmed(s3: FakeS3, source: Source) -> Warming:
    with Progress(disable=True) as progress:
        warming = Warming(s3.endpoint, KEYS, progress)
        await warming.warm(source, 4)
    return warming


async def test_every_object_under_the_prefix_is_read_once() -> None:
    async with FakeS3() as s3:
        for name in ("data/a b+c%.bin", "data/é", "data/plain", "other/x"):
            s3.shelf.generate("b", name, 1000)
        warming = await warmed(s3, Source("b", "data/"))
        assert (warming.objects, warming.received, warming.failed) == (3, 3000, 0)
        for name in ("data/a b+c%.bin", "data/é", "data/plain"):
            assert len(s3.calls_of("GET", name)) == 1
        assert s3.calls_of("GET", "other/x") == []
        assert warming.summary(2.0) == "warm: 3 objects, 2.93 KiB in 2.0 s (1.5 kB/s)"


async def test_all_pages_of_a_long_list_are_read() -> None:
    async with FakeS3() as s3:
        for number in range(1100):
            s3.shelf.put("b", f"{number:04}", b"x")
        assert (await warmed(s3, Source("b", ""))).objects == 1100


async def test_what_may_pass_is_tried_again_and_what_stays_is_counted() -> None:
    async with FakeS3() as s3:
        for name in ("flaky", "gone", "well"):
            s3.shelf.put("b", name, b"x" * 10)
        s3.trouble(key="flaky", method="GET", status=503, times=1)
        s3.trouble(key="gone", method="GET", status=403, code="AccessDenied")
        warming = await warmed(s3, Source("b", ""))
        assert (warming.objects, warming.failed) == (2, 1)
        assert warming.summary(1.0).endswith("; 1 failed, the first: gone: 403 AccessDenied")
        assert len(s3.calls_of("GET", "gone")) == 1


async def test_a_list_that_cannot_be_had_fails() -> None:
    async with FakeS3() as s3:
        with pytest.raises(Failed, match="listing none failed: 404 NoSuchBucket"):
            await warmed(s3, Source("none", ""))
    with pytest.raises(Failed, match="cannot be reached"):
        await warmed(s3, Source("b", ""))


@pytest.mark.parametrize(
    ("text", "source"), [("s3://b", Source("b", "")), ("s3://b/", Source("b", "")), ("s3://b/p/q", Source("b", "p/q"))]
)
def test_sources(text: str, source: Source) -> None:
    assert parse_source(text) == source


@pytest.mark.parametrize("text", ["b/p", "s3:///p", "http://b", ""])
def test_no_source(text: str) -> None:
    with pytest.raises(BadSetting, match="names no bucket"):
        parse_source(text)


def test_endpoints() -> None:
    assert parse_endpoint("http://h:1/") == "http://h:1"
    for text in ("h:1", "http://h/b", "ftp://h"):
        with pytest.raises(BadSetting, match="no S3 endpoint"):
            parse_endpoint(text)


def test_keys_come_from_the_environment_or_from_this_machines_node(tmp_path: Path) -> None:
    variables = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK", "AWS_SESSION_TOKEN": "TOKEN"}
    assert find_keys(variables, None, None) == KEYS
    assert find_keys(variables, "OTHER", None).access_key == "OTHER"
    with pytest.raises(BadSetting, match="no keys in the environment"):
        find_keys({"XDG_CACHE_HOME": str(tmp_path)}, None, None)
    (tmp_path / "forebay").mkdir()
    made = generate_identities(str(tmp_path / "forebay" / "identities.toml"))
    assert find_keys({"XDG_CACHE_HOME": str(tmp_path)}, None, None).secret_key == made.secret_key
    assert find_keys({"XDG_CACHE_HOME": str(tmp_path)}, made.access_key, None).secret_key == made.secret_key
    with pytest.raises(BadSetting, match="NOBODY is not in"):
        find_keys({"XDG_CACHE_HOME": str(tmp_path)}, "NOBODY", None)
