"""Terms and lanes for tests of workloads: objects of one size, chance by seed, bodies of zeros."""

from __future__ import annotations

import random

from bench.operations import name_objects
from bench.plan import Mix
from bench.workloads.terms import Choose, Lane, Terms


def terms(count: int, size: int = 10, *, range_bytes: int = 0, seed: int = 0, mix: Mix | None = None) -> Terms:
    return Terms(
        objects=name_objects("p/", size, count),
        shared=lambda name: random.Random(f"{seed} {name}").randrange,
        body=lambda number, size: bytes([number % 256]) * size,
        range_bytes=range_bytes,
        prefix="p/",
        mix=mix or Mix(),
    )


def lane(index: int = 0, count: int = 1, choose: Choose | None = None) -> Lane:
    return Lane(index, count, choose or random.Random(index).randrange)
