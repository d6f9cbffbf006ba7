"""A run, as the value that every client process gets: whom to ask, for what, how, and for how long.

The command line becomes a plan (``bench/options.py``), a comparison builds its own; ``bench/load.py`` hands each client
process its share. A plan is complete: a client reads no option and no environment. Its connections ("lanes") are
numbered through over all clients, so that a workload can deal work out among them without anybody to ask. Times are
seconds, sizes bytes. Sans-IO; msgspec structs, because they cross a wire and their public half goes into the result.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from bench.arrivals import Rate
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


class Mix(msgspec.Struct, frozen=True):
    """How often each kind of operation is chosen in the workload ``mixed``, in proportion to each other."""

    get: int = 45
    put: int = 15
    stat: int = 30
    delete: int = 10
    list: int = 5


class Shape(msgspec.Struct, frozen=True):
    """What is asked for: the public half of a plan.

    ``range_bytes``: of a range, a part or a sample, as the workload has it; 0: as the workload chooses. ``rate``: how
    many operations begin per second (or, ``rate_by_bytes``, body bytes) whatever the server does; 0: a closed loop.
    ``batch``: objects that the engine ``torch`` reads at a time. ``warmup_s``: how long clients work before
    anything is counted; the window of ``duration_s`` comes after that.
    """

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
    rate: float = 0.0
    rate_by_bytes: bool = False
    mix: Mix = Mix()
    batch: int = 32
    ray: str = ""
    warmup_s: float = 0.0

    @property
    def interval_s(self) -> float:
        """The length of an interval of the timeline: about 0.1 s, a whole number of them in the duration."""
        return self.duration_s / max(math.floor(self.duration_s / INTERVAL_S + 1e-9), 1)

    @property
    def arrivals(self) -> Rate | None:
        """The rate of an open loop; None in a closed one."""
        return Rate(self.rate, by_bytes=self.rate_by_bytes) if self.rate else None

    def objects_read(self) -> tuple[BenchObject, ...]:
        """The objects that the run reads."""
        return name_objects(self.prefix, self.object_bytes, self.objects)


class LoadPlan(msgspec.Struct, frozen=True):
    """A run. ``timeout_s``: how long one operation may stand still. ``cpus``: where clients run; empty: anywhere.

    ``urgent``: the clients go before others on a core that they share, where the system allows it.
    ``seed`` is that of the whole run. A share has the lanes from ``first_lane`` on, of ``lanes`` (0: all are its own).
    """

    door: Door
    shape: Shape
    timeout_s: float = 60.0
    seed: int = 0
    cpus: tuple[int, ...] = ()
    urgent: bool = False
    first_lane: int = 0
    lanes: int = 0

    def shares(self) -> list[LoadPlan]:
        """The plan of each client process; connections are dealt out evenly, and no process is left without one."""
        whole = self.shape.concurrent
        processes = max(min(self.shape.processes, whole), 1)
        each, more = divmod(whole, processes)
        sizes = [each + (index < more) for index in range(processes)]
        return [self._share(sum(sizes[:index]), size) for index, size in enumerate(sizes)]

    def _share(self, first_lane: int, size: int) -> LoadPlan:
        whole = self.shape.concurrent
        shape = msgspec.structs.replace(
            self.shape, concurrent=size, processes=1, rate=self.shape.rate * size / max(whole, 1)
        )
        return msgspec.structs.replace(self, shape=shape, first_lane=first_lane, lanes=whole)
