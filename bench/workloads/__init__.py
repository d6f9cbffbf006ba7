"""Workloads: what clients do, in which order. One file each; this table is how ``--workload`` finds them.

A workload is one or more functions from terms and a lane (``bench/workloads/terms.py``) to an iterator of operations.
It is sans-IO: chance comes in, so that a test can say what is chosen and a seed repeats a run. Every connection takes
its operations from an iterator of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bench.workloads import checkpoint, headline, mixed
from bench.workloads.fanout import all_together
from bench.workloads.ranges import random_ranges
from bench.workloads.shards import sequential_shards
from bench.workloads.shuffle import shuffled_samples
from bench.workloads.terms import Workload
from bench.workloads.whole import whole_objects

WORKLOADS: Final[Mapping[str, Workload]] = MappingProxyType(
    {
        "get": Workload((whole_objects,), "whole objects at random", whole=True),
        "range": Workload((random_ranges,), "random ranges of random objects", ranges=True),
        "shards": Workload(
            (sequential_shards,),
            "large objects from front to end",
            ranges=True,
            defaults={"objects": 64, "object_bytes": 256 << 20},
        ),
        "shuffle": Workload(
            (shuffled_samples,),
            "small samples, each once per epoch",
            ranges=True,
            whole=True,
            defaults={"object_bytes": 128 << 10},
        ),
        "fanout": Workload(
            (all_together,),
            "all clients on one object",
            ranges=True,
            whole=True,
            defaults={"objects": 1, "object_bytes": 1 << 30},
        ),
        "mixed": Workload(
            (mixed.mixed_operations,), "reads, writes, stats, deletes, listings", written=mixed.written_by_all
        ),
        "checkpoint": Workload(
            (checkpoint.write_share, checkpoint.read_all),
            "all write, then everyone reads all",
            ranges=True,
            prepared=False,
            written=checkpoint.saved_objects,
            defaults={"objects": 20, "object_bytes": 64 << 20},
        ),
        "headline": Workload(
            (headline.headline_parts,),
            "10,000 objects of 50 MB in 15 MB parts",
            ranges=True,
            defaults=headline.DEFAULTS,
        ),
    }
)
