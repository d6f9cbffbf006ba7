"""The demo as people run it: a process of its own, small data, and nothing left behind however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.timeout(180)

SMALL = ["--nodes", "2", "--workers", "1"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Some files: small ones, an empty one, one of several chunks, odd names."""
    folder = tmp_path / "data"
    for number in range(40):
        path = folder / f"d{number % 5}" / f"file {number}+ü.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 500))
    (folder / "large.bin").write_bytes(os.urandom(20 << 20))
    return folder


@contextmanager
def demo(data: Path, state: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A running demo; whatever it started is gone when it is, and so are its files."""
    state.mkdir()
    command = [sys.executable, "-m", "gateway.cli", "demo", "--data", str(data), "--dir", str(state), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
            assert not children_of(state)
            assert not list(state.iterdir())
        finally:
            process.kill()
            for child in children_of(state):
                child.kill()


def children_of(state: Path) -> list[psutil.Process]:
    """Processes that have this demo's directory on their command line or open."""
    found = []
    for process in psutil.process_iter(["cmdline", "pid"]):
        words = process.info["cmdline"] or []
        if process.pid != os.getpid() and "demo" not in words and any(str(state) in word for word in words):
            found.append(process)
    return found


def read_until(process: subprocess.Popen[str], mark: str) -> str:
    """The output up to a line that holds ``mark``."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if mark in line:
            return text
    pytest.fail(f"the demo ended without {mark!r}: {text}")


def test_everything_is_read_twice_and_checked(data: Path, tmp_path: Path) -> None:
    with demo(data, tmp_path / "state", *SMALL, "--once") as process:
        text, _ = process.communicate(timeout=150)
        assert process.returncode == 0, text
    assert "every byte checked" in text
    assert "sample: 41 files" in text
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert [(row[0], row[2]) for row in rows] == [
        ("cold", "41"),
        ("cold", rows[1][2]),
        ("warm", "41"),
        ("warm", rows[1][2]),
    ]
    for row in rows[2:]:
        assert row[9:12] == ["0%", "1.000", "0"]


def test_it_stays_until_it_is_ended(data: Path, tmp_path: Path) -> None:
    with demo(data, tmp_path / "state", "--nodes", "1", "--workers", "1") as process:
        text = read_until(process, "/metrics")
        admin = re.findall(r"http://127\.0\.0\.1:\d+", text)[-1]
        status = [sys.executable, "-m", "gateway.cli", "status", "--admin", admin, "--cluster"]
        shown = subprocess.run(status, capture_output=True, text=True, timeout=60, check=True)
        assert "rank-0" in shown.stdout
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 143


def test_a_node_that_dies_is_told_and_ends_it(data: Path, tmp_path: Path) -> None:
    with demo(data, tmp_path / "state", *SMALL) as process:
        read_until(process, "/metrics")
        (node,) = [each for each in children_of(tmp_path / "state") if "node-2.toml" in " ".join(each.cmdline())]
        node.kill()
        text, _ = process.communicate(timeout=60)
        assert process.returncode == 1
    assert "node-2 does not answer; its last lines:" in text


def test_interrupting_the_reading_ends_everything(data: Path, tmp_path: Path) -> None:
    with demo(data, tmp_path / "state", *SMALL, "--once") as process:
        read_until(process, "are ready")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
