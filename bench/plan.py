"""A run, as the value that every client process gets: whom to ask, for what, how, and for how long.

The command line becomes a plan (``bench/options.py``), a comparison builds its own; ``bench/load.py`` hands each client
process its share. A plan is complete: a client reads no option and no environment. Times are seconds, sizes bytes.
Sans-IO; msgspec structs, because they cross a pipe and their public half goes into the result.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from bench.operations import BenchObject, name_objects

INTERVAL_S: Final = 0.1


class Door(msgspec.Struct, frozen=True):
    """An S3 endpoint and how to knock. ``endpoints``: URLs, taken in turn; ``lookup``: ``path`` or ``host`` style."""

    endpoints: tuple[str, ...]
    bucket: str
    access_key: str = ""
    secret_key: str = ""
    session_token: str = ""
    region: str = "us-east-1"
    lookup: str = "path"
    insecure: bool = False


class Shape(msgspec.Struct, frozen=True):
    """What is asked for: the public half of a plan. ``range_bytes`` 0: ranges of random length."""

    engine: str = "raw"
    workload: str = "get"
    prefix: str = "forebay-bench/"
    object_bytes: int = 10 * 1024 * 1024
    objects: int = 2500
    range_bytes: int = 0
    concurrent: int = 20
    processes: int = 1
    duration_s: float = 300.0
    discard: bool = False

    @property
    def interval_s(self) -> float:
        """The length of an interval of the timeline: about 0.1 s, a whole number of them in the duration."""
        return self.duration_s / max(math.floor(self.duration_s / INTERVAL_S + 1e-9), 1)

    def objects_read(self) -> tuple[BenchObject, ...]:
        """The objects that the run reads."""
        return name_objects(self.prefix, self.object_bytes, self.objects)


class LoadPlan(msgspec.Struct, frozen=True):
    """A run. ``timeout_s``: how long one operation may stand still. ``cpus``: where clients run; empty: anywhere."""

    door: Door
    shape: Shape
    timeout_s: float = 60.0
    seed: int = 0
    cpus: tuple[int, ...] = ()

    def shares(self) -> list[LoadPlan]:
        """The plan of each client process; connections are dealt out evenly, and no process is left without one."""
        processes = max(min(self.shape.processes, self.shape.concurrent), 1)
        each, more = divmod(self.shape.concurrent, processes)
        return [
            msgspec.structs.replace(
                self,
                shape=msgspec.structs.replace(self.shape, concurrent=each + (index < more), processes=1),
                seed=self.seed * 1000 + index,
            )
            for index in range(processes)
        ]
