"""One node per cache directory: the second is told of the first, and the first's death frees it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cache.faults import DiskFailed
from cache.store.directory_lock import lock_directory

NODE = """
import subprocess, sys
from pathlib import Path
from cache.store.directory_lock import lock_directory
lock = lock_directory(Path(sys.argv[1]))
subprocess.Popen(["cat"], close_fds=False)  # a worker: it shares standard input and lives on
print("locked", flush=True)
sys.stdin.readline()
"""


def test_a_second_node_is_refused_with_one_line_until_the_first_ends(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "here"
    with lock_directory(directory):
        with pytest.raises(DiskFailed) as raised:
            lock_directory(directory)
        assert str(raised.value) == f"{directory} is in use by another node (pid {os.getpid()})"
    lock_directory(directory).close()


def test_a_lock_let_go_is_free(tmp_path: Path) -> None:
    lock = lock_directory(tmp_path)
    lock.close()
    lock.close()
    lock_directory(tmp_path)  # let go at once, as nobody keeps it
    with lock_directory(tmp_path):
        pass


def test_a_holder_that_could_not_write_its_pid_is_unknown(tmp_path: Path) -> None:
    with lock_directory(tmp_path):
        (tmp_path / "lock").write_text("")
        with pytest.raises(DiskFailed, match=r"another node \(pid unknown\)"):
            lock_directory(tmp_path)


def test_a_killed_node_leaves_no_lock_though_its_workers_live(tmp_path: Path) -> None:
    command = [sys.executable, "-c", NODE, str(tmp_path)]
    root = Path(__file__).parents[4]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        assert node.stdout.readline() == "locked\n"
        with pytest.raises(DiskFailed, match=f"pid {node.pid}"):
            lock_directory(tmp_path)
        node.kill()
        node.wait()
        lock_directory(tmp_path).close()


def test_what_cannot_be_locked_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskFailed, match="cannot lock"):
        lock_directory(tmp_path / "file")
    (tmp_path / "lock").symlink_to(tmp_path / "file")
    with pytest.raises(DiskFailed, match="cannot lock"):
        lock_directory(tmp_path)
