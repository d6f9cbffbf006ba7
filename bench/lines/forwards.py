"""Line 4: what the gateway passes on keeps pace with the upstream, and hits do not notice it.

PUT and a forwarded GET of 64 MiB, over one connection, take turns with the same to the upstream directly (``rclone
serve s3`` over a directory, which stores and serves). Then hits of 64 KiB are measured alone and while another client
streams such PUTs through the same worker without a pause; their p99 is compared within each round. Where two cores have
to do, that client and the upstream use the core of the hits' client: it goes before them, alone and beside, so that
what is compared is the wait for the gateway and not for that core.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Final

import msgspec

from bench.cost import PathSample
from bench.cpu import read_cpu
from bench.lines.exchange import Exchange, exchange_with
from bench.lines.stage import Stage
from bench.lines.verdict import Verdict, at_least, at_most
from bench.load import run_load
from bench.peers import BUCKET, UPSTREAM_KEYS, Terms, door_to, warm, write_objects
from bench.plan import Door
from bench.result import latency_of
from bench.rounds import Case
from bench.servers.child import Listening
from bench.servers.rclone import serve_upstream

BODY_BYTES: Final = 64 * 1024 * 1024
HITS: Final = Case(64 * 1024)
HIT_CONNECTIONS: Final = 8
HITS_S: Final = 3.0
_FORWARDED: Final = "bench=1"


class ForwardFigures(msgspec.Struct, frozen=True):
    """Seconds per PUT and GET, and the p99 of hits in ms; a value per round."""

    direct_put_s: list[float]
    gateway_put_s: list[float]
    direct_get_s: list[float]
    gateway_get_s: list[float]
    alone_p99_ms: list[float]
    beside_p99_ms: list[float]
    puts_beside: int


def judge_forwards(figures: ForwardFigures) -> list[Verdict]:
    """The lines of forwarding."""
    put = _ratio(figures.direct_put_s, figures.gateway_put_s)
    get = _ratio(figures.direct_get_s, figures.gateway_get_s)
    tail = _ratio(figures.beside_p99_ms, figures.alone_p99_ms)
    return [
        at_least("4", "forwarded PUT of 64 MiB, of a direct one", put, 0.9, "x"),
        at_least("4", "forwarded GET of 64 MiB, of a direct one", get, 0.9, "x"),
        at_most("4", "p99 of hits beside such PUTs, over alone", tail, 3.0, "x", note=f"{figures.puts_beside} PUTs"),
    ]


def measure_forwards(stage: Stage) -> tuple[ForwardFigures, list[PathSample]]:
    """Take the figures, and what forwarding costs. Raises ServerFailed, ExchangeFailed, OperationFailed, LoadFailed."""
    files = stage.root / "forwards"
    write_objects(files, [HITS])
    access_key, secret_key = UPSTREAM_KEYS
    behind = serve_upstream(
        files, stage.root / "rclone", access_key=access_key, secret_key=secret_key, cpus=stage.client_cpus
    )
    with behind as upstream, stage.gateway(upstream.endpoint, "forwards") as gateway:
        before = read_cpu(gateway.pid)
        moved = _moved(stage, Door((upstream.endpoint,), BUCKET, access_key, secret_key), door_to(gateway.endpoint))
        used = read_cpu(gateway.pid).since(before)
        terms = _terms(stage)
        warm(terms, gateway)
        alone, beside, puts = _hits(stage, terms, gateway)
    count = 2 * stage.rounds + 2
    sample = PathSample("forward", count, count * _body_bytes(stage), used.total_s, _body_bytes(stage))
    return ForwardFigures(*moved, alone, beside, puts), [sample]


def _body_bytes(stage: Stage) -> int:
    return stage.scaled(BODY_BYTES, least=1024 * 1024)


def _terms(stage: Stage) -> Terms:
    return Terms(
        servers=(),
        cases=(HITS,),
        rounds=stage.rounds,
        duration_s=max(HITS_S * stage.scale, 0.5),
        concurrent=HIT_CONNECTIONS,
        server_cpus=stage.server_cpus,
        client_cpus=stage.client_cpus,
    )


def _moved(stage: Stage, upstream: Door, gateway: Door) -> tuple[list[float], list[float], list[float], list[float]]:
    body = os.urandom(_body_bytes(stage))
    times: tuple[list[float], list[float], list[float], list[float]] = ([], [], [], [])
    with exchange_with(upstream) as direct, exchange_with(gateway) as ours:
        for turn in range(-1, stage.rounds):  # the first turn only connects and warms up
            stage.say(f"forwarding {turn + 1}/{stage.rounds}")
            taken = _turn(direct, ours, body)
            if turn >= 0:
                for series, seconds in zip(times, taken, strict=True):
                    series.append(seconds)
    return times


def _turn(direct: Exchange, ours: Exchange, body: bytes) -> tuple[float, float, float, float]:
    return (
        direct.timed("PUT", "direct.bin", body=body),
        ours.timed("PUT", "through.bin", body=body),
        direct.timed("GET", "direct.bin", query=_FORWARDED),
        ours.timed("GET", "direct.bin", query=_FORWARDED),
    )


def _hits(stage: Stage, terms: Terms, gateway: Listening) -> tuple[list[float], list[float], int]:
    alone, beside = [], []
    puts = 0
    for turn in range(stage.rounds):
        stage.say(f"hits alone and beside PUTs {turn + 1}/{stage.rounds}")
        alone.append(_p99_ms(terms, gateway))
        with _putting(stage, door_to(gateway.endpoint)) as count:
            beside.append(_p99_ms(terms, gateway))
        puts += len(count)
    return alone, beside, puts


def _p99_ms(terms: Terms, gateway: Listening) -> float:
    plan = msgspec.structs.replace(terms.plan(gateway.endpoint, HITS), urgent=True)
    report = run_load(plan)
    return latency_of(report.total.histogram()).p99_ms


@contextmanager
def _putting(stage: Stage, door: Door) -> Iterator[list[float]]:
    """PUTs one after the other while the context lasts; the list grows by the seconds of each."""
    body = os.urandom(_body_bytes(stage))
    done: list[float] = []
    stop = threading.Event()

    def put() -> None:
        with exchange_with(door) as exchange:
            while not stop.is_set():
                done.append(exchange.timed("PUT", "beside.bin", body=body))

    thread = threading.Thread(target=put)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()


def _ratio(first: list[float], second: list[float]) -> float:
    return median(one / other for one, other in zip(first, second, strict=True))
