"""The groups of lines by name: how each is measured and judged on a stage.

A group takes its own servers up and down, so that any of them can be run alone. The table is in the order in which the
lines are numbered. A shell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from bench.lines.catalog import judge_catalog, measure_catalog
from bench.lines.cold import judge_cold, measure_cold
from bench.lines.document import Outcome
from bench.lines.forwards import judge_forwards, measure_forwards
from bench.lines.hits import BESIDE_NGINX, costs_of, judge_hits
from bench.lines.memory import judge_memory, measure_memory
from bench.lines.remote import judge_remote, measure_remote
from bench.lines.restart import judge_restart, measure_restart
from bench.lines.stage import Stage
from bench.peers import Terms, run_peers
from bench.rounds import Case, Comparison
from bench.servers.nginx import find_nginx

CLIENT_ENGINES: Final = ("boto3", "crt", "obstore")
_CLIENT_CASE: Final = Case(8 * 1024 * 1024)
_SAMPLE_S: Final = 2.0


def _peers(stage: Stage, servers: tuple[str, ...], cases: tuple[Case, ...], engine: str) -> Comparison:
    terms = Terms(
        servers=servers,
        cases=cases,
        rounds=stage.rounds,
        duration_s=max(_SAMPLE_S * stage.scale, 0.5),
        concurrent=16,
        server_cpus=stage.server_cpus,
        client_cpus=stage.client_cpus,
        engine=engine,
    )
    terms = dataclasses.replace(terms, asked_warmup_s=terms.warmup_s * stage.scale)
    return run_peers(terms, str(stage.root), stage.say)


def _hits(stage: Stage) -> Outcome:
    find_nginx()  # without it there is nothing to hold hits against
    comparison = _peers(stage, ("forebay", "nginx"), tuple(sorted(BESIDE_NGINX)), "raw")
    return Outcome(judge_hits(comparison), comparison, costs_of(comparison))


def _clients(stage: Stage) -> Outcome:
    found = [_peers(stage, ("forebay", "upstream"), (_CLIENT_CASE,), engine) for engine in CLIENT_ENGINES]
    return Outcome([verdict for comparison in found for verdict in judge_hits(comparison)], found)


def _cold(stage: Stage) -> Outcome:
    figures, costs = measure_cold(stage)
    return Outcome(judge_cold(figures), figures, costs)


def _forwards(stage: Stage) -> Outcome:
    figures, costs = measure_forwards(stage)
    return Outcome(judge_forwards(figures), figures, costs)


def _restart(stage: Stage) -> Outcome:
    figures = measure_restart(stage)
    return Outcome(judge_restart(figures), figures)


def _catalog(stage: Stage) -> Outcome:
    figures = measure_catalog(stage)
    return Outcome(judge_catalog(figures), figures)


def _memory(stage: Stage) -> Outcome:
    figures = measure_memory(stage)
    return Outcome(judge_memory(figures), figures)


def _remote(stage: Stage) -> Outcome:
    figures, costs = measure_remote(stage)
    return Outcome(judge_remote(figures), figures, costs)


GROUPS: Final[Mapping[str, Callable[[Stage], Outcome]]] = MappingProxyType(
    {
        "hits": _hits,
        "clients": _clients,
        "cold": _cold,
        "forwards": _forwards,
        "restart": _restart,
        "catalog": _catalog,
        "memory": _memory,
        "remote": _remote,
    }
)
