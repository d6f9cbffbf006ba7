"""Nodes as real processes, for tests: started from a written configuration, killed, started again.

    async with FakeS3() as fake:
        with Cluster(tmp_path, fake.endpoint, nodes=3, workers=2) as cluster:
            client = cluster.boto3(0)                      a boto3 client of node 0
            cluster.nodes[1].kill(); cluster.nodes[1].start()
            cluster.nodes[2].status()["counters"]

Everything is on 127.0.0.1. A node that does not come up, or ends by itself, fails the test with its log's tail.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

ROOT = Path(__file__).parents[1]
ACCESS_KEY = "FOREBAYTESTKEY"
SECRET_KEY = "forebay-test-secret-key"
CLUSTER_SECRET = "0123456789abcdef0123456789abcdef"
START_S_MAX = 30.0
_PORTS = (12_000, 32_000)
_given: set[int] = set()
_WORKER = re.compile(rb"forebay: worker (\d+)|.*\0gateway\.worker\0(\d+)")  # one that says who it is; one about to

IDENTITIES = f"""
[[identity]]
access_key = "{ACCESS_KEY}"
secret_key = "{SECRET_KEY}"
name = "tests"
job = "suite"
rank = "0"
gpus = 2
target = "1GB/s"

[[identity.grants]]
allow = ["read", "write", "list"]

[[identity]]
access_key = "LIMITEDKEY"
secret_key = "limited-secret-key"
name = "limited"

[[identity.grants]]
buckets = ["open*"]
prefixes = ["public/"]
allow = ["read", "list"]
"""


def free_ports(count: int) -> int:
    """The first of ``count`` successive free ports, none of which this process has had before.

    They lie below the range that the kernel gives to outgoing connections, which would take them again meanwhile.
    """
    while True:
        first = random.randrange(*_PORTS)
        wanted = range(first, first + count)
        with ExitStack() as stack, suppress(OSError):
            for number in wanted:
                stack.enter_context(socket.socket()).bind(("127.0.0.1", number))
            if _given.isdisjoint(wanted):
                _given.update(wanted)
                return first


class Node:
    """One node of a cluster: a ``forebay serve`` process and its workers."""

    def __init__(self, directory: Path, name: str, workers: int) -> None:
        self.directory = directory
        self.name = name
        self.workers = workers
        self.port = free_ports(1)
        self.admin_port = free_ports(1)
        self.peer_port = free_ports(workers)
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def endpoint(self) -> str:
        """What a client sets as endpoint_url."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def cache(self) -> Path:
        """The cache directory."""
        return self.directory / "cache"

    def start(self, *, wait: bool = True) -> None:
        """Start the node process; with ``wait``, until all its workers are ready."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", "serve", "--config", str(self.directory / "forebay.toml")],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if wait:
            self.await_ready()

    def await_ready(self) -> None:
        """Return when all workers are ready. Fails the test when they do not become so."""
        deadline = time.monotonic() + START_S_MAX
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                raise AssertionError(f"{self.name} has ended: {self.log()[-3000:]}")
            with suppress(OSError, ValueError):
                if json.loads(self.page("/health/ready")).get("ready"):
                    return
            time.sleep(0.02)
        raise AssertionError(f"{self.name} is not ready: {self.log()[-3000:]}")

    def page(self, path: str) -> str:
        """A page of the admin port, such as /metrics."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        """The node's status document."""
        document: dict[str, Any] = json.loads(self.page("/status"))
        return document

    def worker_pids(self) -> list[int]:
        """The data workers that run now, by their number."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        found = {}
        for pid in map(int, children):
            with suppress(OSError):
                if worker := _WORKER.match(Path(f"/proc/{pid}/cmdline").read_bytes()):
                    found[int(worker[1] or worker[2])] = pid
        return [found[number] for number in sorted(found)]

    def kill(self) -> None:
        """SIGKILL the node process (its workers die with it) and wait until all of them are gone."""
        assert self.process is not None
        workers = self.worker_pids()
        self.process.kill()
        self.process.wait()
        while any(os.path.exists(f"/proc/{pid}") for pid in workers):
            time.sleep(0.005)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def log(self) -> str:
        """Everything that the node and its workers have written."""
        return (self.directory / "log").read_text(errors="replace")


class Cluster:
    """``nodes`` nodes with ``workers`` workers each over one upstream. ``more`` is TOML text for all of them."""

    def __init__(
        self,
        directory: Path,
        upstream: str,
        *,
        nodes: int = 1,
        workers: int = 2,
        settings: Mapping[str, Mapping[str, object]] | None = None,
        more: str = "",
        start: bool = True,
    ) -> None:
        self.nodes = [Node(directory / f"n{number}", f"n{number}", workers) for number in range(nodes)]
        self._start = start
        (directory / "identities.toml").write_text(IDENTITIES)
        for node in self.nodes:
            text = _config(directory, upstream, node, self.nodes, settings or {})
            (node.directory / "forebay.toml").write_text(text + more)

    def __enter__(self) -> Self:
        try:
            self._start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start_all(self) -> None:
        if self._start:
            for node in self.nodes:
                node.start(wait=False)
            for node in self.nodes:
                node.await_ready()

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            if node.process is not None and node.process.poll() is None:
                node.process.send_signal(signal.SIGTERM)
        for node in self.nodes:
            if node.process is not None:
                try:
                    node.process.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    node.process.kill()
                    node.process.wait()

    def boto3(
        self, number: int = 0, *, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY, **config: Any
    ) -> Any:
        """A boto3 client of one node; ``config`` goes into botocore's Config."""
        config.setdefault("retries", {"max_attempts": 1, "mode": "standard"})
        return boto3.client(
            "s3",
            endpoint_url=self.nodes[number].endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",
            config=Config(**config),
        )

    def counters(self) -> dict[str, int]:
        """The counters of all nodes, summed."""
        total: dict[str, int] = {}
        for node in self.nodes:
            for name, value in node.status()["counters"].items():
                total[name] = total.get(name, 0) + value
        return total


def _config(
    directory: Path, upstream: str, node: Node, nodes: list[Node], settings: Mapping[str, Mapping[str, object]]
) -> str:
    sections: dict[str, dict[str, object]] = {
        "upstream": {"endpoint": upstream, "access_key": "upstream", "secret_key": "upstream-secret"},
        "server": {"port": node.port, "admin_port": node.admin_port, "workers": node.workers, "drain_s": 5.0},
        "cache": {"directory": str(node.cache), "quota": "4GiB"},
        "identities": {"file": str(directory / "identities.toml")},
        "cluster": {"node_id": node.name, "peer_port": node.peer_port, "lease_s": 2.0},
    }
    if len(nodes) > 1:
        sections["cluster"]["secret"] = CLUSTER_SECRET
    for name, values in settings.items():
        sections.setdefault(name, {}).update(values)
    lines = []
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    if len(nodes) > 1:
        for member in nodes:
            lines += [
                "[[cluster.members]]",
                f'id = "{member.name}"',
                'host = "127.0.0.1"',
                f"peer_port = {member.peer_port}",
                f"workers = {member.workers}",
            ]
    return "\n".join(lines) + "\n"
