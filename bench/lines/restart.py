"""Line 5, first half: a node that holds 100,000 chunks serves at once after a restart, a clean one and a kill.

Serving means: from the start of ``forebay serve`` to the last byte of a cached object, the interpreter's own start
included. The clean ones come first: what a node distrusts after a kill it also distrusts after a clean restart, until
somebody asks for it. After a clean restart nothing of what is read may reach the upstream, which is asked what it saw.
After a kill a node may ask again whether what it knows still holds; the line's note says how many reads did. That the
index is verified behind it is not waited for.
"""

from __future__ import annotations

import os
import signal
import time
from statistics import median
from typing import Final
from urllib.request import urlopen

import msgspec

from bench.lines.seeding import seeding
from bench.lines.stage import Stage, session_to, whole
from bench.lines.verdict import Verdict, at_most
from bench.operations import name_objects
from bench.servers.shaped import serve_shaped

CHUNKS: Final = 100_000
OBJECT_BYTES: Final = 4096
_READS: Final = 20


class RestartFigures(msgspec.Struct, frozen=True):
    """Seconds to the first hit, and how many of ``reads`` reached the upstream then; a value per round."""

    chunks: int
    reads: int
    clean_s: list[float]
    killed_s: list[float]
    clean_asked: list[int]
    killed_asked: list[int]


def judge_restart(figures: RestartFigures) -> list[Verdict]:
    """The lines of restarts."""
    count = f"{figures.chunks:,} chunks"
    asked = f"{sum(figures.killed_asked)} of {figures.reads * len(figures.killed_asked)} reads asked the upstream"
    return [
        at_most("5", f"clean restart to serving, {count}", median(figures.clean_s), 1.0, "s"),
        at_most("5", f"kill -9 to serving, {count}", median(figures.killed_s), 2.0, "s", note=asked),
        at_most("5", "reads that reached the upstream after clean restarts", sum(figures.clean_asked), 0),
    ]


def measure_restart(stage: Stage) -> RestartFigures:
    """Take the figures. Raises ServerFailed, OperationFailed, SeedFailed."""
    chunks = stage.scaled(CHUNKS, least=100)
    model, *others = name_objects("held/", OBJECT_BYTES, chunks)
    with serve_shaped(stage.root / "shaped-restart", first_byte_s=0, rate=0, cpus=stage.client_cpus) as upstream:
        with stage.gateway(upstream.endpoint, "restart") as gateway, session_to(gateway.endpoint) as session:
            session.perform(whole(model))
        stage.say(f"writing {chunks:,} chunks")
        with seeding(stage.cache_of("restart"), model) as seeder:
            seeder.hold(others)
        starts = []
        for turn in range(2 * stage.rounds):
            stage.say(f"restarts {turn + 1}/{2 * stage.rounds}")
            starts.append(_to_first_hit(stage, upstream.endpoint, chunks, turn, kill=turn + 1 >= stage.rounds))
        clean, killed = starts[: stage.rounds], starts[stage.rounds :]
    return RestartFigures(
        chunks=chunks,
        reads=_READS + 1,
        clean_s=[took_s for took_s, _ in clean],
        killed_s=[took_s for took_s, _ in killed],
        clean_asked=[asked for _, asked in clean],
        killed_asked=[asked for _, asked in killed],
    )


def _to_first_hit(stage: Stage, upstream: str, chunks: int, turn: int, *, kill: bool) -> tuple[float, int]:
    """Seconds from the start to the first hit, and how many reads reached the upstream.

    ``kill``: how the node ends, which is what the next start finds.
    """
    _forget(upstream)
    objects = name_objects("held/", OBJECT_BYTES, chunks)
    began_s = time.monotonic()
    with stage.gateway(upstream, "restart") as gateway, session_to(gateway.endpoint) as session:
        session.perform(whole(objects[turn % chunks]))
        took_s = time.monotonic() - began_s
        for number in range(_READS):
            session.perform(whole(objects[(turn * 7919 + number * 104729) % chunks]))
        if kill:
            os.kill(gateway.pid, signal.SIGKILL)
    return took_s, _asked(upstream)


def _forget(upstream: str) -> None:
    urlopen(f"{upstream}/-/forget", timeout=30).close()  # noqa: S310 - our own upstream


def _asked(upstream: str) -> int:
    with urlopen(f"{upstream}/-/counts", timeout=30) as answer:  # noqa: S310 - our own upstream
        return sum(row[-1] for row in msgspec.json.decode(answer.read(), type=list[tuple[str, str, str, int]]))
