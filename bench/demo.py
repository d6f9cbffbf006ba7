"""``forebay demo``: the main job on this machine, from nothing, with every byte checked.

An embedded bucket server gets a sample of real files; N nodes with two workers each start as any node does; everything
is read cold and then warm through all of them, by boto3 and by the data loader. The table at the end is what the nodes
counted. It fails (exit 1) when a byte is wrong, when the nodes' count of bytes is not the clients', or when the warm
pass is not served by the cache alone. Then the cluster stays up to be played with; ``--once`` ends instead. Whatever
happens, Ctrl-C and SIGTERM included, the processes end and the files go with it. A shell.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, TypeVar

from rich.console import Console

from bench.demo_cluster import (
    DemoNode,
    Load,
    is_up,
    plan_nodes,
    read_status,
    serve_bucket,
    serve_nodes,
    tail_of,
)
from bench.demo_counts import Counts, Pass, judge, read_counts
from bench.demo_passes import read_objects, read_shards, upload
from bench.demo_sample import Manifest, SampleFile, choose_files, find_files
from bench.demo_table import passes_table, stage, try_next
from bench.servers.child import ServerFailed
from gateway.quantities import parse_bytes, parse_rate, render_bytes

FILES_MAX: Final = 2000
BYTES_MAX: Final = 512_000_000
ROOM_FACTOR: Final = 2.5
SETTLE_S_MAX: Final = 5.0
_POLL_S: Final = 0.1
_WATCH_S: Final = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    nodes: int
    workers: int
    data: Path
    files: int
    size: int
    load: Load
    directory: Path | None
    once: bool


def main(args: Sequence[str]) -> int:
    """Run the demo; returns 0 when all was as promised, 1 when not. Exits with 2 for a bad command line."""
    console = Console(width=None if sys.stdout.isatty() else 170)
    options = parse_options(args)
    try:
        with _terminated_cleanly(), tempfile.TemporaryDirectory(prefix="forebay-demo-", dir=options.directory) as state:
            return _run(console, options, Path(state))
    except (ServerFailed, NoData, OSError) as error:
        console.print(f"forebay demo: {error}", style="red", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("ended before it was done")
        return 130


class NoData(Exception):
    """There is nothing to read, or no room for it."""


def parse_options(args: Sequence[str]) -> Options:
    """The options, or SystemExit (2 for what cannot be)."""
    parser = argparse.ArgumentParser(prog="forebay demo", description="Show a whole cluster at work on this machine.")
    add = parser.add_argument
    add("--nodes", type=_number(1, 16), default=3, help="nodes to start (default: 3)")
    add("--workers", type=_number(1, 16), default=2, help="data workers per node (default: 2)")
    add("--data", type=Path, default=Path(sysconfig.get_path("purelib")), help="directory with the files to read")
    add("--files", type=_number(1, 1_000_000), default=FILES_MAX, help=f"files, at most (default: {FILES_MAX})")
    add("--size", type=_spelled(parse_bytes), default=BYTES_MAX, help="bytes, at most, objects and shards together")
    add("--gpus", type=_number(1, 64), default=1, help="GPUs that each node's rank is counted as (default: 1)")
    add("--target", type=_spelled(parse_rate), default=7e9, help="target per GPU (default: 7GB/s)")
    add("--dir", type=Path, default=None, help="where the demo may keep its files (default: the system's)")
    add("--once", action="store_true", help="end after the passes instead of leaving the cluster up")
    found = parser.parse_args(list(args))
    if not found.data.is_dir():
        parser.error(f"--data {found.data}: no such directory")
    load = Load(found.gpus, found.target)
    return Options(found.nodes, found.workers, found.data, found.files, found.size, load, found.dir, found.once)


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return parse


def _spelled(parse: Callable[[object], T]) -> Callable[[str], T]:
    """``parse`` with its own words in the error message."""

    def checked(text: str) -> T:
        try:
            return parse(int(text) if text.isdecimal() else text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked


@contextmanager
def _terminated_cleanly() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind like any other end, so that no process is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def choose_sample(options: Options, room_bytes: int) -> list[SampleFile]:
    """The files to upload. Raises NoData when there are none, or no room for them and the caches."""
    files = choose_files(find_files(options.data), files_max=options.files, bytes_max=options.size)
    cost = sum(file.cost for file in files)
    if not files:
        raise NoData(f"{options.data} holds no file that fits; give --data or a larger --size")
    if cost * ROOM_FACTOR > room_bytes:
        needed = render_bytes(cost * ROOM_FACTOR)
        raise NoData(f"{needed} of room needed, {render_bytes(room_bytes)} there; give --dir or a smaller --size")
    return files


def _run(console: Console, options: Options, state: Path) -> int:
    files = choose_sample(options, shutil.disk_usage(state).free)
    console.print(
        f"sample: {len(files):,} files of {options.data}, the largest {render_bytes(max(f.size for f in files))}; "
        f"as objects and again in tar shards, {render_bytes(sum(file.cost for file in files))} in all",
        highlight=False,
        soft_wrap=True,
    )
    nodes = plan_nodes(options.nodes, options.workers)
    with serve_bucket(state) as bucket:
        with stage(console, "upload to the bucket", sum(file.cost for file in files)) as tick:
            manifest = upload(bucket, files, tick)
        began_s = time.monotonic()
        with serve_nodes(nodes, bucket, options.load, state):
            ready = f"{len(nodes)} nodes with {options.workers} workers each are ready"
            console.print(f"{ready} after {time.monotonic() - began_s:.1f} s", highlight=False)
            passes = _read_all(console, nodes, manifest)
            console.print(passes_table(passes, len(nodes), options.load))
            faults = judge(passes)
            _conclude(console, passes, faults)
            if faults:
                _show_logs(console, nodes, state)
            if faults or options.once:
                return 1 if faults else 0
            console.print(try_next(nodes), markup=False, highlight=False, soft_wrap=True)
            return _watch(console, nodes, state)


def _read_all(console: Console, nodes: Sequence[DemoNode], manifest: Manifest) -> list[Pass]:
    """Everything cold, then everything again."""
    passes = []
    for name, warm in (("cold", False), ("warm", True)):
        for client, read, total in (
            ("boto3, objects", read_objects, manifest.object_bytes),
            ("data loader, shards", read_shards, manifest.shard_bytes),
        ):
            done = Pass(name, client, warm=warm)
            before = read_counts(map(read_status, nodes))
            with stage(console, f"{name}, {client}", total) as tick:
                read(nodes, manifest, done, tick)
            done.counts = _settled(nodes, before, done.received_bytes)
            passes.append(done)
    return passes


def _settled(nodes: Sequence[DemoNode], before: Counts, received_bytes: int) -> Counts:
    """What the nodes counted since ``before``: a client may have the last byte before its node has counted it."""
    give_up_s = time.monotonic() + SETTLE_S_MAX
    while True:
        counts = read_counts(map(read_status, nodes)) - before
        if counts.served_bytes >= received_bytes or time.monotonic() > give_up_s:
            return counts
        time.sleep(_POLL_S)


def _conclude(console: Console, passes: Sequence[Pass], faults: Sequence[str]) -> None:
    for fault in faults:
        console.print(fault, style="red", markup=False, highlight=False, soft_wrap=True)
    if not faults:
        checked = render_bytes(sum(each.received_bytes for each in passes))
        console.print(
            f"every byte checked ({checked}); the warm pass: hit ratio 1.0, 0 GETs to the bucket", style="green"
        )


def _show_logs(console: Console, nodes: Sequence[DemoNode], state: Path) -> None:
    """Print what these nodes said last."""
    for node in nodes:
        lives = "answers" if is_up(node, "/health/live") else "does not answer"
        text = f"{node.name} {lives}; its last lines:\n{tail_of(node, state)}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _watch(console: Console, nodes: Sequence[DemoNode], state: Path) -> int:
    """Stay until Ctrl-C; 1 when a node is gone before."""
    try:
        while True:
            if dead := [node for node in nodes if not is_up(node, "/health/live")]:
                _show_logs(console, dead, state)
                return 1
            time.sleep(_WATCH_S)
    except KeyboardInterrupt:
        return 0
