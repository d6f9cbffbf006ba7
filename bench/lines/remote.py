"""Line 7: hits that lie on another node, verified at the reader, against local ones; and a hot set that moves in.

Two nodes with one worker each. All chunks but a few belong to the second (it has nearly all the weight), so that
reading through the first is remote. Objects are warm at their owner, their keys are known to both (HEAD), and each is
read once through each node: a node that keeps local copies of what it is asked for often must not blur the figure. CPU
time is that of all processes of both nodes.

Then a hot set of a quarter of a node's disk is read over and over through the first node; how many of its bytes still
come from its peer is the peer counter of its status.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Final
from urllib.request import urlopen

import msgspec

from bench.cost import PathSample
from bench.cpu import read_cpu_of
from bench.lines.stage import Stage, session_to, timed, whole
from bench.lines.verdict import Verdict, at_least, at_most
from bench.operations import BenchObject, Probe, name_objects
from bench.servers.child import Listening, free_port
from bench.servers.forebay import Member, Place
from bench.servers.shaped import serve_shaped

LARGE_BYTES: Final = 8 * 1024 * 1024
LARGE_OBJECTS: Final = 64
SMALL_BYTES: Final = 64 * 1024
SMALL_OBJECTS: Final = 100
DISK_BYTES: Final = 1024**3
PASSES: Final = 3
_ALL: Final = 1e6


class RemoteFigures(msgspec.Struct, frozen=True):
    """Per round: CPU seconds and bytes of large reads, median seconds of small ones. Then the hot set, by pass."""

    local_cpu_s: list[float]
    remote_cpu_s: list[float]
    bytes: int
    objects: int
    local_small_s: list[float]
    remote_small_s: list[float]
    set_bytes: int
    peer_bytes_by_pass: list[int]


@dataclass(frozen=True, slots=True)
class _Pair:
    """``near`` is read through; ``far`` owns. ``status``: the near one's."""

    near: Listening
    far: Listening
    status: str

    @property
    def pids(self) -> tuple[int, int]:
        return self.near.pid, self.far.pid


def judge_remote(figures: RemoteFigures) -> list[Verdict]:
    """The lines of remote hits."""
    work = median(local / remote for local, remote in zip(figures.local_cpu_s, figures.remote_cpu_s, strict=True))
    added = median(r - lo for lo, r in zip(figures.local_small_s, figures.remote_small_s, strict=True)) * 1000
    share = figures.peer_bytes_by_pass[-1] / figures.set_bytes * 100
    return [
        at_least("7", "a remote hit of 8 MiB per CPU second, of a local one's", work, 0.3, "x"),
        at_most("7", "added median latency at 64 KiB", added, 1.0, "ms"),
        at_most("7", f"of a hot set, from peers after {PASSES} passes", share, 10, "%"),
    ]


def measure_remote(stage: Stage) -> tuple[RemoteFigures, list[PathSample]]:
    """Take the figures, and what a remote hit costs. Raises ServerFailed, OperationFailed."""
    with ExitStack() as stack:
        pair = _start(stage, stack)
        large_count = stage.scaled(LARGE_OBJECTS, least=4)
        local, remote = _rounds_of_large(stage, pair, large_count)
        small_local, small_remote = _rounds_of_small(stage, pair)
        set_bytes, by_pass = _hot_set(stage, pair)
    size = large_count * LARGE_BYTES
    figures = RemoteFigures(local, remote, size, large_count, small_local, small_remote, set_bytes, by_pass)
    return figures, [PathSample("remote", large_count, size, cpu_s, LARGE_BYTES) for cpu_s in remote]


def _start(stage: Stage, stack: ExitStack) -> _Pair:
    upstream = stack.enter_context(
        serve_shaped(stage.root / "shaped-remote", first_byte_s=0, rate=0, cpus=stage.client_cpus)
    )
    members = (Member("near", free_port(), 1.0), Member("far", free_port(), _ALL))
    secret, disk = secrets.token_urlsafe(32), stage.scaled(DISK_BYTES, least=64 * 1024 * 1024)
    room = 2 * stage.rounds * stage.scaled(LARGE_OBJECTS, least=4) * LARGE_BYTES  # or else later rounds read no hits
    admin_port = free_port()
    near, far = (
        stack.enter_context(
            stage.gateway(upstream.endpoint, name, Place(name, members, secret, admin_port=port, quota=str(quota)))
        )
        for name, port, quota in (("near", admin_port, disk), ("far", free_port(), disk + room))
    )
    return _Pair(near, far, f"http://127.0.0.1:{admin_port}/status")


def _read(endpoint: str, objects: Sequence[BenchObject]) -> list[float]:
    """Read each once; seconds of each."""
    with session_to(endpoint) as session:
        return [timed(session, whole(each)).total_s for each in objects]


def _make_known(pair: _Pair, objects: Sequence[BenchObject]) -> None:
    """The far node holds the objects, the near one knows of them."""
    _read(pair.far.endpoint, objects)
    with session_to(pair.near.endpoint) as session:
        for each in objects:
            session.perform(Probe(each.key, each.size))


def _cpu_of_reading(pair: _Pair, endpoint: str, objects: Sequence[BenchObject]) -> float:
    before = read_cpu_of(pair.pids)
    _read(endpoint, objects)
    return read_cpu_of(pair.pids).since(before).total_s


def _rounds_of_large(stage: Stage, pair: _Pair, count: int) -> tuple[list[float], list[float]]:
    local, remote = [], []
    for turn in range(stage.rounds):
        stage.say(f"remote hits {turn + 1}/{stage.rounds}")
        objects = name_objects(f"large/{turn}/", LARGE_BYTES, count)
        _make_known(pair, objects)
        local.append(_cpu_of_reading(pair, pair.far.endpoint, objects))
        remote.append(_cpu_of_reading(pair, pair.near.endpoint, objects))
    return local, remote


def _rounds_of_small(stage: Stage, pair: _Pair) -> tuple[list[float], list[float]]:
    local, remote = [], []
    for turn in range(stage.rounds):
        objects = name_objects(f"small/{turn}/", SMALL_BYTES, SMALL_OBJECTS)
        _make_known(pair, objects)
        local.append(median(_read(pair.far.endpoint, objects)))
        remote.append(median(_read(pair.near.endpoint, objects)))
    return local, remote


def _hot_set(stage: Stage, pair: _Pair) -> tuple[int, list[int]]:
    disk = stage.scaled(DISK_BYTES, least=64 * 1024 * 1024)
    objects = name_objects("hot/", LARGE_BYTES, max(disk // 4 // LARGE_BYTES, 1))
    by_pass: list[int] = []
    for turn in range(PASSES + 1):
        stage.say(f"hot set, pass {turn + 1}")
        before = _peer_bytes(pair.status)
        _read(pair.near.endpoint, objects)
        by_pass.append(_peer_bytes(pair.status) - before)
    return sum(each.size for each in objects), by_pass


def _peer_bytes(status: str) -> int:
    with urlopen(status, timeout=30) as answer:  # noqa: S310 - our own node
        return int(msgspec.json.decode(answer.read())["peers"]["bytes"]["in"])
