"""Bytes of a chunk file are other than they were: never served, counted, and had again from upstream.

200 flips of one byte anywhere in a file (payload and footer), of files that a worker has open and of closed ones, with
their pages in memory, dropped from memory, or the node restarted, the modification time restored or not; read by range
(over the flip or beside it) and whole, through the node that holds the file and through another one. And files that
are cut, extended, zeroed, swapped, or are no files any more.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cache.chunks import Chunk
from cache.store.chunk_files import open_chunk_file, read_footer
from cache.store.footer import FooterDamaged
from cache.store.scrub import fsck
from tests.cluster import Cluster, Node
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3
from tests.faults.load import BUCKET, RETRIES, ROUNDS, read_whole, tell
from tests.faults.upstream import Item

pytestmark = pytest.mark.timeout(300)
FLIPS = 10 * ROUNDS
RESTART_EVERY = 50
MIB = 1 << 20
SETTINGS = {"cache": {"chunk_size": "1MiB"}}
FRESH = '[[freshness]]\nbucket = "*"\nmode = "immutable"\n'
ITEMS = [
    *(Item(f"tiny{number}", 5000 + number) for number in range(10)),
    *(Item(f"middle{number}", 700_000 + number) for number in range(10)),
    *(Item(f"large{number}", 2 * MIB + 300_000 + number) for number in range(5)),
]
BODIES = {item.key: body_of(item.key, item.version, 0, item.size) for item in ITEMS}


def chunk_files(node: Node) -> list[Path]:
    return sorted((node.cache / "chunks").glob("*/*"))


def flip(path: Path, at: int, bit: int) -> None:
    with path.open("r+b", buffering=0) as file:
        was = os.pread(file.fileno(), 1, at)
        os.pwrite(file.fileno(), bytes([was[0] ^ bit]), at)


def drop_pages(path: Path) -> None:
    """Take the file's pages out of memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Mill:
    """Flips one byte after another in the chunk files of two nodes, and reads."""

    def __init__(self, cluster: Cluster, fake: FakeS3) -> None:
        self.cluster, self.fake = cluster, fake
        self.clients = [cluster.boto3(number, retries=RETRIES) for number in range(2)]
        self.chance = random.Random(7)
        self.kinds: Counter[str] = Counter()
        self.kept = 0  # damage that a node had counted before it was killed

    def turn(self, number: int) -> None:
        chance, holder = self.chance, number % 2
        path, chunk = self.some_chunk(holder)
        item = Item(chunk.version.key, chunk.version.size)
        in_footer = number % 4 == 3
        at = chance.randrange(chunk.length, path.stat().st_size) if in_footer else chance.randrange(chunk.length)
        times = path.stat()
        self.read(holder, item, None)  # the file is open, its units are verified
        flip(path, at, 1 << chance.randrange(8))
        if chance.random() < 0.5:
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        state = ("warm", "cold", "restarted")[2 if number % RESTART_EVERY == 49 else number // 4 % 2]
        if state == "cold":
            drop_pages(path)
        elif state == "restarted":
            self.settle(number)
            self.kept += self.cluster.nodes[holder].status()["counters"]["disk_damaged"]
            self.cluster.nodes[holder].kill()
            self.cluster.nodes[holder].start()
        reader = holder if chance.random() < 0.5 else 1 - holder
        place = chunk.span.start + min(at, chunk.length - 1)
        self.kinds[f"{state} {'footer' if in_footer else 'payload'} {'holder' if reader == holder else 'relay'}"] += 1
        self.read(reader, item, beside(place, item.size, chance))
        self.read(reader, item, (max(0, place - chance.randrange(3000)), min(item.size, place + 3000)))
        self.read(reader, item, None)
        self.read(holder, item, None)

    def settle(self, flips: int) -> tuple[int, list[str]]:
        """All damage counted so far, once it accounts for the flips (or three seconds are over), and what is left.

        What is left when the counting begins may be found and counted meanwhile: then all is counted again.
        """
        while True:
            left = self.left()
            counted = self.kept + damaged(self.cluster, flips - len(left) - self.kept)
            if left == self.left():
                return counted, left

    def left(self) -> list[str]:
        """Damage that lies in the files still."""
        return [line for node in self.cluster.nodes for line in fsck(node.cache)]

    def some_chunk(self, holder: int) -> tuple[Path, Chunk]:
        """A chunk file of the node that is whole: a flip in the footer of an open file may still lie there."""
        paths = chunk_files(self.cluster.nodes[holder])
        for path in self.chance.sample(paths, len(paths)):
            with suppress(FooterDamaged):
                return path, read_footer(open_chunk_file(str(path))).chunk
        raise AssertionError("no whole chunk")

    def read(self, node: int, item: Item, span: tuple[int, int] | None) -> None:
        """Read and compare; the SDK's retries included."""
        start, stop = span or (0, item.size)
        if span is None:
            body = read_whole(self.clients[node], item.key)
        else:
            answer = self.clients[node].get_object(Bucket=BUCKET, Key=item.key, Range=f"bytes={start}-{stop - 1}")
            body = answer["Body"].read()
        assert body == BODIES[item.key][start:stop], f"wrong bytes of {item} [{start}, {stop})"


def beside(place: int, size: int, chance: random.Random) -> tuple[int, int]:
    """A range of the object that does not hold ``place``."""
    if place > size // 2:
        return 0, chance.randrange(1, place + 1)
    return chance.randrange(place + 1, size), size


def damaged(cluster: Cluster, least: int) -> int:
    """The damage that the nodes have counted, once it is ``least`` or three seconds are over."""
    deadline = time.monotonic() + 3
    while (count := cluster.counters()["disk_damaged"]) < least and time.monotonic() < deadline:
        time.sleep(0.05)
    return count


async def test_a_flipped_byte_is_never_served(tmp_path):
    async with FakeS3() as fake:
        for item in ITEMS:
            fake.shelf.generate(BUCKET, item.key, item.size, item.version)
        with Cluster(tmp_path, fake.endpoint, nodes=2, workers=1, settings=SETTINGS, more=FRESH) as cluster:
            mill = Mill(cluster, fake)
            for item in ITEMS:
                await asyncio.to_thread(mill.read, 0, item, None)
            chunks = sum(len(chunk_files(node)) for node in cluster.nodes)
            fake.forget()
            for number in range(FLIPS):
                await asyncio.to_thread(mill.turn, number)
            refills = len([call for call in fake.calls if call.method == "GET"])
            counted, left = await asyncio.to_thread(mill.settle, FLIPS)
    tell(f"{FLIPS} flips in {chunks} chunks: {counted} counted, {refills} refills, {dict(mill.kinds)}")
    tell(f"left in the footers of open files: {len(left)}")
    assert counted + len(left) == FLIPS
    assert all("footer" in line for line in left), left


def cut(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size))


def empty(path: Path, _: random.Random) -> None:
    os.truncate(path, 0)


def extend(path: Path, chance: random.Random) -> None:
    with path.open("ab") as file:
        file.write(chance.randbytes(chance.randrange(1, 5000)))


def zero(path: Path, chance: random.Random) -> None:
    size = path.stat().st_size
    start = chance.randrange(0, size, 4096)
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(min(4096, size - start)))


def hole(path: Path, _: random.Random) -> None:
    size = path.stat().st_size
    os.truncate(path, 0)
    os.truncate(path, size)


def swap(path: Path, chance: random.Random) -> None:
    other = chance.choice([one for one in path.parents[1].glob("*/*") if one != path and one.is_file()])
    between = path.with_name("between")
    path.rename(between)
    other.rename(path)
    between.rename(other)


def copy_over(path: Path, chance: random.Random) -> None:
    other = chance.choice([one for one in path.parents[1].glob("*/*") if one != path and one.is_file()])
    with path.open("r+b") as file:
        file.write(other.read_bytes())
        file.truncate()


def to_directory(path: Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()
    (path / "x").write_bytes(b"x")


def to_link(path: Path, _: random.Random) -> None:
    other = path.with_name("kept")
    path.rename(other)
    path.symlink_to(other)


def to_fifo(path: Path, _: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def to_socket(path: Path, _: random.Random) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(path.parent)
        made.bind(path.name)


def remove(path: Path, _: random.Random) -> None:
    path.unlink()


def remove_all(path: Path, _: random.Random) -> None:
    shutil.rmtree(path.parents[1])


SPOILS: list[Callable[[Path, random.Random], Any]] = [
    cut, empty, extend, zero, hole, swap, copy_over, to_directory, to_link, to_fifo, to_socket, remove, remove_all
]  # fmt: skip


async def test_spoiled_files(tmp_path):
    chance, here = random.Random(11), Path.cwd()
    async with FakeS3() as fake:
        for item in ITEMS:
            fake.shelf.generate(BUCKET, item.key, item.size, item.version)
        with Cluster(tmp_path, fake.endpoint, nodes=2, workers=1, settings=SETTINGS, more=FRESH) as cluster:
            mill = Mill(cluster, fake)
            for spoil in SPOILS:
                for holder in range(2):
                    for item in ITEMS:
                        await asyncio.to_thread(mill.read, holder, item, None)
                    for path in chance.sample(chunk_files(cluster.nodes[holder]), 3):
                        if path.exists():
                            spoil(path, chance)
                    os.chdir(here)
                    for reader in range(2):
                        for item in ITEMS:
                            await asyncio.to_thread(mill.read, reader, item, None)
            assert await asyncio.to_thread(damaged, cluster, 2 * 10) >= 2 * 10
