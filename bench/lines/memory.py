"""Line 6: memory of an idle worker, of idle connections, and under load.

Resident memory as the kernel counts it (``VmRSS``: the interpreter, its libraries and what is mapped included), of the
worker process alone. Each of the 5,000 connections has made one request before it rests. Under load the worker is
looked at after a tenth of the time, when its caches have filled, and at the end.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from bench.cpu import process_tree
from bench.engines.ports import Session
from bench.lines.stage import Stage, engine_to, session_to, whole
from bench.lines.verdict import Verdict, at_most
from bench.load import run_load
from bench.operations import name_objects
from bench.peers import Terms
from bench.rounds import Case
from bench.servers.child import Listening
from bench.servers.shaped import serve_shaped

CONNECTIONS: Final = 5_000
LOAD_S: Final = 600.0
LOAD: Final = Case(64 * 1024)
_MIB: Final = 1024 * 1024
_SPARE_FILES: Final = 256
_GROWTH_MAX: Final = 0.05


class MemoryFigures(msgspec.Struct, frozen=True):
    """Bytes resident of the worker: idle, with connections, early and late under load."""

    idle_bytes: int
    connections: int
    connected_bytes: int
    load_s: float
    early_bytes: int
    late_bytes: int


def judge_memory(figures: MemoryFigures) -> list[Verdict]:
    """The lines of memory."""
    each = (figures.connected_bytes - figures.idle_bytes) / max(figures.connections, 1) / 1024
    growth = (figures.late_bytes / figures.early_bytes - 1) * 100
    return [
        at_most("6", "resident memory of an idle worker", figures.idle_bytes / _MIB, 100, "MiB"),
        at_most("6", f"for each of {figures.connections:,} idle connections", each, 64, "KiB"),
        at_most("6", f"growth over {figures.load_s:g} s of load", growth, _GROWTH_MAX * 100, "%"),
    ]


def measure_memory(stage: Stage) -> MemoryFigures:
    """Take the figures. Raises ServerFailed, OperationFailed, LoadFailed."""
    (known,) = name_objects("known/", 4096, 1)
    shaped = serve_shaped(stage.root / "shaped-memory", first_byte_s=0, rate=0, cpus=stage.client_cpus)
    with _many_files() as files, shaped as upstream, stage.gateway(upstream.endpoint, "memory") as gateway:
        with session_to(gateway.endpoint) as session:
            session.perform(whole(known))
        idle = resident_bytes(_worker(gateway))
        count = min(stage.scaled(CONNECTIONS), files - _SPARE_FILES)
        stage.say(f"{count:,} connections")
        with engine_to(gateway.endpoint) as engine:
            sessions: list[Session] = []
            try:
                for lane in range(count):
                    sessions.append(engine.session(lane) if engine.split is None else engine.split(lane))
                    sessions[-1].perform(whole(known))
                connected = resident_bytes(_worker(gateway))
            finally:
                for each in sessions:
                    each.close()
        load_s = max(LOAD_S * stage.scale, 2.0)
        stage.say(f"load for {load_s:g} s")
        run_load(_terms(stage, load_s * 0.1).plan(gateway.endpoint, LOAD))
        early = resident_bytes(_worker(gateway))
        run_load(_terms(stage, load_s * 0.9).plan(gateway.endpoint, LOAD))
        return MemoryFigures(idle, count, connected, load_s, early, resident_bytes(_worker(gateway)))


def resident_bytes(pid: int) -> int:
    """Resident memory of a process. Raises OSError."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def _worker(gateway: Listening) -> int:
    """The data worker of a node: the child that is called so."""
    for pid in process_tree(gateway.pid)[1:]:
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"forebay: worker "):
                return pid
    raise OSError("the node has no worker")


def _terms(stage: Stage, duration_s: float) -> Terms:
    return Terms(
        servers=(),
        cases=(LOAD,),
        rounds=1,
        duration_s=duration_s,
        concurrent=16,
        server_cpus=stage.server_cpus,
        client_cpus=stage.client_cpus,
    )


@contextmanager
def _many_files() -> Iterator[int]:
    """As many open files as this process may have; servers inherit it. How many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, soft), hard))
    try:
        yield max(wanted, soft)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
