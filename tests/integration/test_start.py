"""The start of a node: its first workers are forked, later ones run anew, and no failure leaves one behind.

That nobody remains is seen by the end of the node's output, which every worker shares.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster import ROOT, Cluster, Node
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3

NOBODY = "http://127.0.0.1:9"
FORKED_BUT_NOT_EXECUTED = 0x40  # PF_FORKNOEXEC among the flags of proc_pid_stat(5)


def is_fork(pid: int) -> bool:
    flags = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[6]
    return bool(int(flags) & FORKED_BUT_NOT_EXECUTED)


def read(cluster: Cluster) -> bytes:
    body: bytes = cluster.boto3().get_object(Bucket="data", Key="key")["Body"].read()
    return body


async def test_first_workers_are_forked_and_later_ones_are_not(tmp_path: Path) -> None:
    async with FakeS3() as fake:
        fake.shelf.generate("data", "key", 100_000, 1)
        with Cluster(tmp_path, fake.endpoint) as cluster:
            (node,) = cluster.nodes
            for forks in ([True, True], [False, True], [False, False]):
                pids = node.worker_pids()
                assert [is_fork(pid) for pid in pids] == forks
                for _ in range(8):  # the kernel spreads them over the workers
                    assert await asyncio.to_thread(read, cluster) == body_of("key", 1, 0, 100_000)
                await asyncio.to_thread(replaced, node, forks.count(False) % 2)
            workers = node.status()["workers"]
            assert [row["pid"] for row in workers if row["alive"]] == node.worker_pids()
            assert node.stop() == 0
    ended = [line for line in node.log().splitlines() if '"worker ended"' in line]
    assert len(ended) == 3
    assert "Traceback" not in node.log()


def replaced(node: Node, number: int) -> None:
    """Kill a worker and return when another has its place and serves."""
    victim = node.worker_pids()[number]
    os.kill(victim, signal.SIGKILL)
    while len(pids := node.worker_pids()) < node.workers or pids[number] == victim:
        pass
    node.await_ready()


@contextmanager
def starting(tmp_path: Path) -> Iterator[Node]:
    """A node whose start is under way; all of it is over when the context has ended, or it takes too long."""
    (node,) = Cluster(tmp_path, NOBODY, start=False).nodes
    command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(node.directory / "forebay.toml")]
    node.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield node
        node.process.wait(timeout=30)
        output, _ = node.process.communicate(timeout=2)  # nobody else holds it
        (node.directory / "log").write_bytes(output)
    finally:
        node.process.kill()
        node.process.communicate()


def until_forked(node: Node) -> None:
    while len(node.worker_pids()) < node.workers:
        assert node.process is not None
        assert node.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_node_that_is_ended_right_after_its_forks_leaves_none(tmp_path: Path, number: signal.Signals) -> None:
    with starting(tmp_path) as node:
        until_forked(node)
        assert node.process is not None
        node.process.send_signal(number)
    assert node.process is not None
    assert node.process.returncode in {0, -number, 130}  # 0: it had begun to listen for signals


@pytest.mark.parametrize("port", ["admin_port", "port", "peer_port"])
def test_a_port_that_is_taken_is_one_line_and_leaves_none(tmp_path: Path, port: str) -> None:
    with socket.socket() as taken:
        with starting(tmp_path) as node:
            taken.bind(("127.0.0.1", getattr(node, port)))
            taken.listen()
        assert node.process is not None
        assert node.process.returncode == 1
        (line,) = node.log().splitlines()
        assert line.startswith("forebay: cannot start: ")
        assert str(getattr(node, port)) in line


def test_a_second_node_on_a_directory_is_one_line_and_leaves_none(tmp_path: Path) -> None:
    with Cluster(tmp_path, NOBODY) as cluster, starting(tmp_path) as node:
        pass
    assert node.process is not None
    assert node.process.returncode == 1
    (line,) = node.log().splitlines()
    assert f"in use by another node (pid {cluster.nodes[0].process.pid})" in line
