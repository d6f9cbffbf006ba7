"""The probe: a process that reads an environment and ends, by whatever it reads; the one that asks goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from cache.store.probe import read_all, reads_whole

ROWS = 5000


def filled(directory: Path) -> str:
    env = lmdb.open(str(directory), max_dbs=4)
    for name in (b"one", b"other"):
        with env.begin(db=env.open_db(name), write=True) as txn:
            for number in range(ROWS):
                txn.put(b"%08d" % number, b"v" * (number % 300))
    env.close()
    return str(directory)


def test_an_environment_that_is_whole(tmp_path: Path) -> None:
    path = filled(tmp_path)
    assert reads_whole(path, 60)
    assert read_all(path) == 2 * ROWS


def cut(data: Path) -> None:
    with data.open("r+b") as file:
        file.truncate(data.stat().st_size // 2)


def scribble(data: Path) -> None:
    with data.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(os.urandom(data.stat().st_size - 3 * 4096))


def remove(data: Path) -> None:
    data.unlink()


@pytest.mark.parametrize("spoil", [cut, scribble, remove])
def test_an_environment_that_is_not(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = filled(tmp_path)
    spoil(tmp_path / "data.mdb")
    assert not reads_whole(path, 60)


HANGS = """
import os, sys
from cache.store.probe import reads_whole

data = os.path.join(sys.argv[1], "data.mdb")
os.unlink(data)
os.mkfifo(data)
print("whole" if reads_whole(sys.argv[1], 1) else "not whole")
"""


def test_one_that_never_ends_is_ended(tmp_path: Path) -> None:
    """A FIFO for a file: whoever opens it waits for another who does."""
    path = filled(tmp_path)
    ran = subprocess.run([sys.executable, "-c", HANGS, path], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("not whole\n", "")
