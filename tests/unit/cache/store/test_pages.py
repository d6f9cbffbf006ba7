from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from cache.store.pages import Pages


@pytest.fixture
def pages() -> Pages:
    asked = Pages()
    if not asked.available:
        pytest.skip("this kernel has no cachestat")
    return asked


def test_pages_just_written_are_in_memory_and_dropped_ones_are_not(pages: Pages, tmp_path: Path) -> None:
    size = 5 * mmap.PAGESIZE + 1
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        os.write(fd, b"x" * size)
        assert pages.resident(fd, 0, size)
        assert pages.resident(fd, mmap.PAGESIZE - 1, mmap.PAGESIZE + 1)
        os.fsync(fd)
        os.posix_fadvise(fd, 2 * mmap.PAGESIZE, mmap.PAGESIZE, os.POSIX_FADV_DONTNEED)
        if not pages.resident(fd, 2 * mmap.PAGESIZE, 3 * mmap.PAGESIZE):  # some filesystems keep everything
            assert not pages.resident(fd, 0, size)
            assert pages.resident(fd, 0, 2 * mmap.PAGESIZE)
    finally:
        os.close(fd)


def test_a_bad_descriptor_has_no_pages(pages: Pages) -> None:
    assert not pages.resident(-1, 0, 10)
