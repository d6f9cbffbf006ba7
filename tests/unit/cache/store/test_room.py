import os
from pathlib import Path

import pytest

from cache.store.room import RESERVED_BYTES_MIN, reserve


@pytest.fixture
def fd(tmp_path: Path):
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield file
    os.close(file)


def test_room_is_taken_and_nothing_can_be_read_before_it_was_written(fd: int) -> None:
    if not reserve(fd, RESERVED_BYTES_MIN):
        pytest.skip("this file system cannot take room before")
    assert os.fstat(fd).st_blocks * 512 >= RESERVED_BYTES_MIN
    assert os.fstat(fd).st_size == 0
    os.write(fd, b"abc")
    assert os.fstat(fd).st_size == 3


def test_a_small_file_is_written_as_it_comes(fd: int) -> None:
    assert not reserve(fd, RESERVED_BYTES_MIN - 1)
    assert os.fstat(fd).st_blocks == 0


def test_where_there_can_be_no_room_nothing_is_said() -> None:
    reading, writing = os.pipe()
    assert not reserve(writing, RESERVED_BYTES_MIN)
    os.close(reading)
    os.close(writing)
