"""The file system as fsspec's users meet it: found by its protocol, read like files, refused for writing."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from datetime import UTC, datetime

import fsspec
import pytest

from gateway.client.endpoint import Gateway
from gateway.client.fsspec import ForebayFileSystem
from tests.doubles.fake_s3 import FakeS3

BODY = bytes(range(256)) * 40


@pytest.fixture
def files(fake: FakeS3, gateway: Gateway) -> Iterator[ForebayFileSystem]:
    """Two buckets, a few files."""
    for key in ("top.bin", "d/one.txt", "d/two.txt", "d/e/three.txt", "d/"):
        fake.shelf.put("b", key, BODY if key.endswith(("bin", "txt")) else b"")
    fake.shelf.put("c", "x", b"")
    options = {"endpoint_url": gateway.endpoint, "key": "AK", "secret": "SK", "job": "j", "skip_instance_cache": True}
    found = fsspec.filesystem("forebay", **options)
    assert isinstance(found, ForebayFileSystem)
    yield found
    found.reader.close()


def test_directories_are_listed(files: ForebayFileSystem) -> None:
    assert sorted(files.ls("", detail=False)) == ["b", "c"]
    assert sorted(files.ls("forebay://b", detail=False)) == ["b/d", "b/top.bin"]
    assert sorted(files.ls("b/d/", detail=False)) == ["b/d/e", "b/d/one.txt", "b/d/two.txt"]
    assert [entry["type"] for entry in files.ls("b")] == ["directory", "file"]
    assert files.ls("b/top.bin", detail=False) == ["b/top.bin"]
    with pytest.raises(FileNotFoundError):
        files.ls("b/none")
    with pytest.raises(FileNotFoundError):
        files.ls("none")


def test_files_are_found(files: ForebayFileSystem) -> None:
    everything = ["b/d/e/three.txt", "b/d/one.txt", "b/d/two.txt", "b/top.bin"]
    assert files.find("b") == everything
    assert files.find("forebay://b/d") == everything[:3]
    assert files.find("b/top.bin") == ["b/top.bin"]
    assert files.find("b/none") == []
    assert files.find("b", detail=True)["b/top.bin"]["size"] == len(BODY)
    assert files.find("b", maxdepth=1) == ["b/top.bin"]
    assert sorted(files.glob("b/d/*.txt")) == ["b/d/one.txt", "b/d/two.txt"]
    assert sorted(files.glob("b/**/*.txt")) == everything[:3]


def test_what_is_known_of_a_path(files: ForebayFileSystem) -> None:
    info = files.info("b/top.bin")
    assert (info["name"], info["size"], info["type"]) == ("b/top.bin", len(BODY), "file")
    assert files.isdir("b/d")
    assert files.isdir("b")
    assert files.isdir("")
    assert not files.exists("b/nothing")
    assert not files.exists("nothing")
    changed = files.modified("b/top.bin")
    assert changed is not None
    assert abs((datetime.now(UTC) - changed).total_seconds()) < 3600
    assert files.modified("b") is None


def test_files_are_read(files: ForebayFileSystem, gateway: Gateway, fake: FakeS3) -> None:
    with files.open("forebay://b/top.bin", block_size=1000) as file:
        assert file.read(10) == BODY[:10]
        file.seek(5000)
        assert file.read() == BODY[5000:]
    with fsspec.open("forebay://b/top.bin", endpoint_url=gateway.endpoint, key="AK", secret="SK") as file:
        assert file.read() == BODY
    assert {seen.headers["x-forebay-job"] for seen in fake.seen if "x-forebay-job" in seen.headers} == {"j"}
    assert files.cat_file("b/top.bin") == BODY
    assert files.cat_file("b/top.bin", 5, 9) == BODY[5:9]
    assert files.cat_file("b/top.bin", -7, -2) == BODY[-7:-2]
    assert files.cat_file("b/top.bin", len(BODY), None) == b""
    assert files.cat(["b/top.bin", "b/d/one.txt"]) == {"b/top.bin": BODY, "b/d/one.txt": BODY}


def test_ranges_are_read_side_by_side(files: ForebayFileSystem) -> None:
    paths = ["b/top.bin", "b/none", "b/d/one.txt"]
    first, missing, last = files.cat_ranges(paths, [0, 0, 5], [3, 3, 6])
    assert (first, last) == (BODY[:3], BODY[5:6])
    assert isinstance(missing, FileNotFoundError)
    assert files.cat_ranges(["b/top.bin"] * 2, 1, 2) == [BODY[1:2]] * 2
    with pytest.raises(FileNotFoundError):
        files.cat_ranges(paths, 0, 1, on_error="raise")


def test_a_file_replaced_under_its_reader_is_an_error(files: ForebayFileSystem, fake: FakeS3) -> None:
    with files.open("b/top.bin", block_size=100, cache_type="none") as file:
        file.read(10)
        fake.shelf.put("b", "top.bin", BODY[::-1])
        with pytest.raises(OSError, match=r"top\.bin") as caught:
            file.read(10)
        assert caught.value.errno == errno.ESTALE


def test_errors_are_os_errors(files: ForebayFileSystem, fake: FakeS3) -> None:
    with pytest.raises(FileNotFoundError, match="b/none"):
        files.open("b/none")
    fake.trouble(key="top.bin", status=403, code="AccessDenied")
    with pytest.raises(PermissionError):
        files.cat_file("b/top.bin")
    fake.calm()
    fake.trouble(key="top.bin", status=400, code="BadRequest")
    with pytest.raises(OSError, match="BadRequest") as caught:
        files.cat_file("b/top.bin")
    assert caught.value.errno == errno.EIO


def test_writing_is_refused(files: ForebayFileSystem) -> None:
    refused = [
        lambda: files.open("b/new", "wb"),
        lambda: files.pipe_file("b/new", b""),
        lambda: files.pipe("b/new", b""),
        lambda: files.rm("b/top.bin"),
        lambda: files.mkdir("new"),
        lambda: files.makedirs("new/x"),
        lambda: files.touch("b/new"),
        lambda: files.cp_file("b/top.bin", "b/new"),
        lambda: files.mv("b/top.bin", "b/new"),
        lambda: files.put_file(__file__, "b/new"),
    ]
    for write in refused:
        with pytest.raises(OSError, match="read-only") as caught:
            write()
        assert caught.value.errno == errno.EROFS
