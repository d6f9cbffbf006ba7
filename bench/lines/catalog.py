"""Line 5, second half: a hit costs the same whether the catalog holds a thousand keys or a million.

One gateway for each size of the catalog, all running, all holding the same few hundred objects of 4 KiB, which are what
is read; the rest of each catalog is ballast. They are measured like servers beside each other: interleaved rounds, CPU
time per request, ratios to the smallest within each round.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

import msgspec

from bench.lines.seeding import seeding
from bench.lines.stage import Stage, session_to, whole
from bench.lines.verdict import Verdict, at_most
from bench.operations import BenchObject, name_objects
from bench.peers import Terms, compare
from bench.rounds import Case, Sample, paired
from bench.servers.child import Listening
from bench.servers.shaped import serve_shaped

ENTRIES: Final = (1_000, 10_000, 100_000, 1_000_000)
HITS: Final = Case(4096)
CONNECTIONS: Final = 16
MEASURE_S: Final = 2.0
_SHARE: Final = 0.10


class CatalogFigures(msgspec.Struct, frozen=True):
    """Samples of gateways that are named after how many entries their catalogs hold."""

    entries: list[int]
    samples: list[Sample]


def judge_catalog(figures: CatalogFigures) -> list[Verdict]:
    """A line for every size but the smallest: CPU per request over the smallest's, as a difference in percent."""
    smallest, *others = sorted(figures.entries)
    return [
        at_most("5", f"cost of a hit, {count:,} entries against {smallest:,}", abs(change) * 100, _SHARE * 100, "%",
                note=f"{change:+.1%}")
        for count in others
        if (change := _change(figures.samples, smallest, count)) is not None
    ]  # fmt: skip


def measure_catalog(stage: Stage) -> CatalogFigures:
    """Take the figures. Raises ServerFailed, OperationFailed, LoadFailed, SeedFailed."""
    entries = sorted({max(int(count * stage.scale), HITS.objects) for count in ENTRIES})
    hot = list(HITS.shape().objects_read())
    terms = Terms(
        servers=(),
        cases=(HITS,),
        rounds=stage.rounds,
        duration_s=max(MEASURE_S * stage.scale, 0.5),
        concurrent=CONNECTIONS,
        server_cpus=stage.server_cpus,
        client_cpus=stage.client_cpus,
    )
    with ExitStack() as stack:
        upstream = stack.enter_context(
            serve_shaped(stage.root / "shaped-catalog", first_byte_s=0, rate=0, cpus=stage.client_cpus)
        )
        contenders = [_filled(stage, stack, upstream, count, hot) for count in entries]
        return CatalogFigures(entries, list(compare(terms, contenders, stage.say)))


def _filled(stage: Stage, stack: ExitStack, upstream: Listening, count: int, hot: Sequence[BenchObject]) -> Listening:
    """A gateway whose catalog holds ``count`` entries, ``hot`` among them, which its store holds as well."""
    stage.say(f"a catalog of {count:,} entries")
    name = f"catalog-{count}"
    gateway = stack.enter_context(stage.gateway(upstream.endpoint, name))
    with session_to(gateway.endpoint) as session:
        for _ in range(2):
            for each in hot:
                session.perform(whole(each))
    with seeding(stage.cache_of(name), hot[0]) as seeder:
        seeder.know(name_objects("ballast/", HITS.object_bytes, count - len(hot)))
    return Listening(str(count), gateway.endpoint, gateway.pid)


def _change(samples: Sequence[Sample], smallest: int, count: int) -> float | None:
    """How much more a request costs, as a share."""
    ratio = paired(samples, HITS, str(count), str(smallest), lambda sample: sample.cpu_s / max(sample.requests, 1))
    return None if ratio is None else ratio.median - 1
