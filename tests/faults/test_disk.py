"""The cache's disk is full, read-only, failing or gone: reads stay right, nobody gets an error for it.

The cache directory is a small tmpfs of the test's own; a read-only or missing part is mounted over it or removed. EIO
is injected into running workers by strace. Where mounts or ptrace are not permitted the tests are skipped.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import Cluster, Node
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3
from tests.faults.load import BUCKET, read_whole, tell
from tests.faults.upstream import Item

pytestmark = pytest.mark.timeout(200)
MIB = 1 << 20
ITEMS = [
    *(Item(f"small{number}", 50_000 + number) for number in range(20)),
    *(Item(f"large{number}", 3 * MIB + number) for number in range(8)),
]
SETTINGS = {"cache": {"chunk_size": "1MiB", "disk_rest_s": 3.0}}
FRESH = '[[freshness]]\nbucket = "*"\nmode = "immutable"\n'
SEAL = {"total_max_attempts": 1, "mode": "standard"}


@contextmanager
def mounted(path: Path, *options: str) -> Iterator[None]:
    """A tmpfs at ``path`` while the block lasts."""
    path.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(path)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no tmpfs can be mounted here: {error}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def read_all(clients: list[Any]) -> None:
    """Everything through every client, without any retry of the SDK's."""
    for client in clients:
        for item in ITEMS:
            body = client.get_object(Bucket=BUCKET, Key=item.key)["Body"].read()
            assert body == body_of(item.key, item.version, 0, item.size), f"wrong bytes of {item}"


def cluster_of(tmp_path: Path, fake: FakeS3, **more: Any) -> Cluster:
    for item in ITEMS:
        fake.shelf.generate(BUCKET, item.key, item.size, item.version)
    return Cluster(tmp_path, fake.endpoint, nodes=2, settings={**SETTINGS, **more}, more=FRESH)


def clients_of(cluster: Cluster) -> list[Any]:
    return [cluster.boto3(number, retries=SEAL) for number in range(len(cluster.nodes))]


def unhurt(cluster: Cluster) -> None:
    """No worker and no node process has died."""
    for node in cluster.nodes:
        assert "worker ended" not in node.log(), node.log()[-3000:]
        assert "Traceback" not in node.log(), node.log()[-3000:]


async def test_the_disk_is_full(tmp_path):
    async with FakeS3() as fake:
        with mounted(tmp_path / "n0/cache", "-o", "size=32m"), cluster_of(tmp_path, fake) as cluster:
            clients, ballast = clients_of(cluster), cluster.nodes[0].cache / "ballast"
            await asyncio.to_thread(read_all, clients)
            await asyncio.to_thread(fill_up, ballast)
            for _ in range(2):
                await asyncio.to_thread(read_all, clients)
            await asyncio.to_thread(write_some, clients)
            full = {name: count for name, count in cluster.nodes[0].status()["counters"].items() if count}
            ballast.unlink()
            await asyncio.to_thread(read_all, clients)
            await asyncio.to_thread(until_kept, cluster.nodes[0], clients, fake)
            unhurt(cluster)
    tell(f"beside a full disk: {full}")


def fill_up(path: Path) -> None:
    """A file that takes all that is left."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def write_some(clients: list[Any]) -> None:
    for turn in range(6):
        clients[turn % 2].put_object(Bucket=BUCKET, Key="w", Body=body_of("w", turn, 0, 100_000))
        for client in clients:
            assert read_whole(client, "w") == body_of("w", turn, 0, 100_000)


def until_kept(node: Node, clients: list[Any], fake: FakeS3) -> None:
    """A small object read again and again is served without upstream in the end."""
    deadline = time.monotonic() + 45
    while time.monotonic() < deadline:
        fake.forget()
        for client in clients:
            for item in ITEMS[:10]:
                assert read_whole(client, item.key) == body_of(item.key, item.version, 0, item.size)
        if not fake.calls:
            return
        time.sleep(0.2)
    raise AssertionError(f"the cache does not recover: {fake.calls[-10:]} {node.log()[-2000:]}")


async def test_new_files_cannot_be_made(tmp_path):
    """A read-only file system over ``filling/``: EROFS for every new chunk; what is kept is served."""
    async with FakeS3() as fake:
        with cluster_of(tmp_path, fake) as cluster:
            clients = clients_of(cluster)
            await asyncio.to_thread(read_all, clients[:1])
            with mounted(cluster.nodes[0].cache / "filling", "-o", "ro"):
                for path in list((cluster.nodes[0].cache / "chunks").glob("*/*"))[::2]:
                    path.unlink()
                for _ in range(2):
                    await asyncio.to_thread(read_all, clients)
                await asyncio.to_thread(write_some, clients)
            await asyncio.to_thread(until_kept, cluster.nodes[0], clients, fake)
            unhurt(cluster)


async def test_the_cache_directory_is_removed_under_a_running_node(tmp_path):
    async with FakeS3() as fake:
        with cluster_of(tmp_path, fake) as cluster:
            clients = clients_of(cluster)
            await asyncio.to_thread(read_all, clients)
            shutil.rmtree(cluster.nodes[0].cache, ignore_errors=True)
            for _ in range(2):
                await asyncio.to_thread(read_all, clients)
            await asyncio.to_thread(write_some, clients)
            node = cluster.nodes[0]
            node.kill()
            node.start()
            await asyncio.to_thread(read_all, clients)
            await asyncio.to_thread(until_kept, node, clients, fake)


async def test_one_worker_is_started_again_after_the_directory_was_removed(tmp_path):
    """Both workers of the node must learn of a write, whichever of them hears of it."""
    async with FakeS3() as fake:
        with cluster_of(tmp_path, fake) as cluster:
            clients = clients_of(cluster)
            await asyncio.to_thread(read_all, clients)
            node = cluster.nodes[0]
            shutil.rmtree(node.cache, ignore_errors=True)
            os.kill(node.worker_pids()[0], signal.SIGKILL)
            await asyncio.to_thread(read_by_new_connections, cluster)


def read_by_new_connections(cluster: Cluster) -> None:
    """Each read is a new connection, so that all workers of a node are met."""
    deadline = time.monotonic() + 10
    turn = 0
    while time.monotonic() < deadline:
        turn += 1
        writer = cluster.boto3(1)
        writer.put_object(Bucket=BUCKET, Key="w", Body=body_of("w", turn, 0, 1000))
        for _ in range(4):
            client = cluster.boto3(0, retries={"max_attempts": 5, "mode": "standard"})
            assert read_whole(client, "w") == body_of("w", turn, 0, 1000)
            client.close()


# Call and when: every third one, every one; sendfile now and then, as it fails only for a page that went just before.
INJECTED = [(call, when) for call in ("preadv2", "pread64", "rename") for when in ("1+3", "1+1")]
INJECTED += [("sendfile", "2+200")]


@contextmanager
def failing(node: Node, call: str, when: str) -> Iterator[None]:
    """EIO from a system call of all the node's workers while the block lasts."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    pids = [option for pid in node.worker_pids() for option in ("-p", str(pid))]
    rule = f"inject={call}:error=EIO:when={when}"
    command = [strace, "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", rule, *pids]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        for pid in node.worker_pids():
            while f"TracerPid:\t{tracer.pid}" not in Path(f"/proc/{pid}/status").read_text():
                if tracer.poll() is not None:
                    pytest.skip(f"strace may not trace here: {tracer.stderr.read()!r}")
                time.sleep(0.01)
        yield
    finally:
        tracer.terminate()
        tracer.communicate()


@pytest.mark.parametrize(("call", "when"), INJECTED)
async def test_the_disk_fails(tmp_path, call, when):
    """The SDK may retry what breaks off in the body."""
    async with FakeS3() as fake:
        with cluster_of(tmp_path, fake) as cluster:
            clients = [cluster.boto3(number, retries={"max_attempts": 4, "mode": "standard"}) for number in range(2)]
            await asyncio.to_thread(read_whole_each, clients)
            node = cluster.nodes[0]
            with failing(node, call, when):
                for turn in range(2):
                    for path in list((node.cache / "chunks").glob("*/*"))[turn::3]:
                        path.unlink()
                    drop_pages(node)
                    await asyncio.to_thread(read_whole_each, clients)
            unhurt(cluster)


def read_whole_each(clients: list[Any]) -> None:
    for client in clients:
        for item in ITEMS:
            assert read_whole(client, item.key) == body_of(item.key, item.version, 0, item.size), item


def drop_pages(node: Node) -> None:
    """Take all chunk files out of memory."""
    for path in (node.cache / "chunks").glob("*/*"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


OPENS_LEASES = """
import sys
from cache.faults import DiskFailed
from cache.members.leasefile import LeaseTable
from gateway.worker import SystemClock
try:
    LeaseTable(sys.argv[1], lease_s=5.0, clock=SystemClock())
except DiskFailed as fault:
    raise SystemExit(str(fault)) from None
"""


def test_without_room_for_the_leases_a_process_ends_with_a_line_and_not_by_a_signal(tmp_path: Path) -> None:
    with mounted(tmp_path / "run", "-o", "size=8k"):
        command = [sys.executable, "-c", OPENS_LEASES, str(tmp_path / "run" / "leases")]
        ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "No space left on device" in ended.stderr
