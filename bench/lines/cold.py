"""Line 3: cold reads over a distant upstream (50 ms to the first byte, 100 MB/s per connection).

One cold stream of a large object through the gateway against the same stream from the upstream directly; the first byte
of a cold object against the upstream's; and 256 clients that want one cold object at the same moment, against one. The
crowd's time is taken on an object so small that moving 256 copies of it over this machine's loopback is not what is
measured; that a crowd costs one GET per chunk is counted on one of several chunks. The streams come last, and each
begins when the disk has taken the last one: what is measured is the way, not this machine's disk. Nor is it how fast a
virtual machine's host gives memory: the page cache is full before (:mod:`bench.lines.page_cache`); what a stream takes
in memory as it was found stands beside. Directly and through the gateway take turns, every round on objects that
nobody has read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from statistics import median
from typing import Final
from urllib.request import urlopen

import msgspec

from bench.cost import PathSample
from bench.cpu import read_cpu
from bench.lines.page_cache import full_page_cache
from bench.lines.stage import Stage, Timed, crowd, session_to, timed, whole
from bench.lines.verdict import Verdict, at_least, at_most
from bench.operations import BenchObject, name_objects
from bench.servers.forebay import Place
from bench.servers.shaped import serve_shaped

FIRST_BYTE_S: Final = 0.05
RATE: Final = 100e6
STREAM_BYTES: Final = 1024**3
QUOTA: Final = "16GiB"  # no stream of five rounds is evicted
SMALL_BYTES: Final = 64 * 1024
FIRST_BYTES_PER_ROUND: Final = 10
CLIENTS: Final = 256
CROWD_BYTES: Final = 256 * 1024
CROWD_CHUNKS: Final = 4
CHUNK_BYTES: Final = 8 * 1024 * 1024


class ColdFigures(msgspec.Struct, frozen=True):
    """Seconds, a value per round: of a stream, of a first byte (a median each), of one client and of the crowd.

    ``found_stream_s``: streams through the gateway in memory as it was found.
    """

    direct_stream_s: list[float]
    gateway_stream_s: list[float]
    direct_first_s: list[float]
    gateway_first_s: list[float]
    one_s: list[float]
    crowd_s: list[float]
    gets: int
    chunks: int
    stream_bytes: int
    found_stream_s: list[float] = []


def judge_cold(figures: ColdFigures) -> list[Verdict]:
    """The lines of cold reads."""
    speed = _ratio(figures.direct_stream_s, figures.gateway_stream_s)
    added_ms = 1000 * median(g - d for g, d in zip(figures.gateway_first_s, figures.direct_first_s, strict=True))
    note = f"{figures.stream_bytes / median(figures.gateway_stream_s) / 1e6:.0f} MB/s"
    if figures.found_stream_s:
        found = median(figures.direct_stream_s) / median(figures.found_stream_s)
        note += f"; {found:.2f}x in memory as found"
    return [
        at_least("3", "one cold stream over a direct one", speed, 4.0, "x", note=note),
        at_most("3", "first byte of a miss, beyond the upstream's", added_ms, 2.0, "ms"),
        at_most(
            "3", f"{CLIENTS} clients of one cold object, over one", _ratio(figures.crowd_s, figures.one_s), 1.5, "x"
        ),
        at_most("3", "GETs per chunk for them", figures.gets / figures.chunks, 1.0),
    ]


def measure_cold(stage: Stage) -> tuple[ColdFigures, list[PathSample]]:
    """Take the figures, and what the misses cost. Raises ServerFailed, OperationFailed."""
    with (
        serve_shaped(stage.root / "shaped", first_byte_s=FIRST_BYTE_S, rate=RATE, cpus=stage.client_cpus) as upstream,
        stage.gateway(upstream.endpoint, "cold", Place(quota=QUOTA)) as gateway,
    ):
        stream_bytes = stage.scaled(STREAM_BYTES, least=CHUNK_BYTES)
        first = [_first_bytes(upstream.endpoint, gateway.endpoint, turn) for turn in range(stage.rounds)]
        crowds = [_crowds(gateway.endpoint, turn) for turn in range(stage.rounds)]
        gets = _gets_of_a_crowd(upstream.endpoint, gateway.endpoint)
        found = [_stream(gateway.endpoint, each) for each in name_objects("found/", stream_bytes, stage.rounds)]
        stage.say("filling the page cache")
        with full_page_cache(stage.root / "holes", min(stage.scale, 1.0)) as fill:
            before = read_cpu(gateway.pid)
            direct, ours = _streams(stage, upstream.endpoint, gateway.endpoint, stream_bytes, fill)
            used = read_cpu(gateway.pid).since(before)
    figures = ColdFigures(
        direct_stream_s=direct,
        gateway_stream_s=ours,
        direct_first_s=[one for one, _ in first],
        gateway_first_s=[other for _, other in first],
        one_s=[one for one, _ in crowds],
        crowd_s=[many for _, many in crowds],
        gets=gets,
        chunks=CROWD_CHUNKS,
        stream_bytes=stream_bytes,
        found_stream_s=found,
    )
    return figures, [PathSample("miss", stage.rounds, stream_bytes * stage.rounds, used.total_s, stream_bytes)]


def _streams(
    stage: Stage, upstream: str, gateway: str, size: int, fill: Callable[[], None]
) -> tuple[list[float], list[float]]:
    direct, ours = [], []
    for turn, each in enumerate(name_objects("stream/", size, stage.rounds)):
        stage.say(f"cold stream {turn + 1}/{stage.rounds}")
        direct.append(_stream(upstream, each))
        fill()  # just before: what stays free meanwhile goes back to the host
        ours.append(_stream(gateway, each))
    return direct, ours


def _stream(endpoint: str, each: BenchObject) -> float:
    """Seconds for the whole object on a connection of its own."""
    os.sync()
    with session_to(endpoint) as session:
        return timed(session, whole(each)).total_s


def _first_bytes(upstream: str, gateway: str, turn: int) -> tuple[float, float]:
    """Medians of directly and through the gateway, which take turns."""
    direct: list[Timed] = []
    ours: list[Timed] = []
    with session_to(upstream) as theirs, session_to(gateway) as mine:
        warm_up, *objects = name_objects(f"first/{turn}/", SMALL_BYTES, FIRST_BYTES_PER_ROUND + 1)
        theirs.perform(whole(warm_up))
        mine.perform(whole(warm_up))
        for each in objects:
            direct.append(timed(theirs, whole(each)))
            ours.append(timed(mine, whole(each)))
    return median(each.first_s for each in direct), median(each.first_s for each in ours)


def _crowds(gateway: str, turn: int) -> tuple[float, float]:
    (known,) = name_objects("known/", SMALL_BYTES, 1)
    alone, together = name_objects(f"crowd/{turn}/", CROWD_BYTES, 2)
    return crowd(gateway, 1, whole(known), whole(alone)), crowd(gateway, CLIENTS, whole(known), whole(together))


def _gets_of_a_crowd(upstream: str, gateway: str) -> int:
    (known,) = name_objects("known/", SMALL_BYTES, 1)
    (each,) = name_objects("counted/", CROWD_CHUNKS * CHUNK_BYTES, 1)
    crowd(gateway, CLIENTS, whole(known), whole(each))
    with urlopen(f"{upstream}/-/counts", timeout=30) as answer:  # noqa: S310 - our own upstream
        counts = json.load(answer)
    return sum(count for method, path, _, count in counts if method == "GET" and path.endswith(each.key))


def _ratio(first: list[float], second: list[float]) -> float:
    return median(one / other for one, other in zip(first, second, strict=True))
