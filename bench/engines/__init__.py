"""Engines: the clients that make the load. One file each; this table is how ``--engine`` finds them.

The table names modules instead of importing them: a run of one engine needs no other's libraries. Each module has
``open_engine(plan) -> Engine``. What an engine needs beyond Forebay's own libraries comes with ``forebay[bench]``.
Engines in ``WHOLE_ONLY`` read whole objects and do nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from bench.engines.ports import Engine, OpenEngine
    from bench.plan import LoadPlan

ENGINES: Final[Mapping[str, str]] = MappingProxyType(
    {name: f"bench.engines.{name}" for name in ("raw", "boto3", "crt", "obstore", "torch")}
)
WHOLE_ONLY: Final = frozenset({"torch"})


def open_engine(plan: LoadPlan) -> Engine:
    """The engine that a plan asks for. Raises ValueError, in one line for people, where a library is missing."""
    name = plan.shape.engine
    try:
        module = import_module(ENGINES[name])
    except ImportError as fault:
        raise ValueError(f"--engine {name} needs {fault.name}; install forebay[bench]") from fault
    return cast("OpenEngine", module.open_engine)(plan)
