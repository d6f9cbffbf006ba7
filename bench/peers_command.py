"""``forebay bench peers``, and ``make bench``: servers beside each other on this machine.

``make bench`` (``python -m bench``) is the same with fewer servers: one Forebay worker beside one nginx worker. Printed
are a table and, for every line that the speed is held to, its figure; written are JSON, PNG and HTML under ``--out``.
Exit status: 0 (lines unmet included: a figure is no failure); 1 where it could not be run or a request failed; 2 for
arguments that make no sense.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from bench.engines import ENGINES
from bench.lines.hits import judge_hits
from bench.load import LoadFailed
from bench.operations import OperationFailed
from bench.options import parse_duration, parse_warmup
from bench.peers import CONTENDERS, Terms, run_peers
from bench.report.comparison import draw_comparison, print_comparison, render_comparison
from bench.report.verdicts import print_verdicts
from bench.result import public_command
from bench.rounds import Comparison, parse_case, render_json
from bench.servers.child import ServerFailed

QUICK: Final = "forebay,nginx"
_CASES: Final = "4KiB,64KiB,1MiB,8MiB,8MiB/1GiB"


def main(args: Sequence[str], *, quick: bool = False) -> int:
    """Run the comparison that ``args`` say; the exit status. ``quick``: beside nginx, unless they say more."""
    console = Console(stderr=True, highlight=False)
    parser = _parser(quick=quick)
    found = parser.parse_args(args)
    try:
        terms = _terms(found)
    except ValueError as fault:
        parser.error(str(fault))
    try:
        comparison = run_peers(terms, found.dir, lambda line: console.print(line, style="dim", markup=False))
        program = "python -m bench" if quick else "forebay bench peers"
        comparison = msgspec.structs.replace(comparison, command=public_command(program, args))
        print_comparison(Console(file=sys.stdout, highlight=False), comparison)
        print_verdicts(Console(file=sys.stdout, highlight=False), judge_hits(comparison))
        write(comparison, Path(found.out), "beside-nginx" if quick else "peers")
    except (ServerFailed, LoadFailed, OperationFailed, ValueError, OSError) as fault:
        console.print(f"bench: {fault}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    return 1 if any(row.failed for row in comparison.rows) else 0


def write(comparison: Comparison, out: Path, name: str) -> None:
    """JSON, PNG and HTML. Raises OSError; ValueError where matplotlib is missing."""
    out.mkdir(parents=True, exist_ok=True)
    stem = name if comparison.engine == "raw" else f"{name}-{comparison.engine}"
    (out / f"{stem}.json").write_bytes(render_json(comparison))
    image = draw_comparison(comparison)
    (out / f"{stem}.png").write_bytes(image)
    page = render_comparison(comparison, judge_hits(comparison), image)
    (out / f"{stem}.html").write_text(page, encoding="utf-8")


def cores() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which core servers have, and which clients have; the same where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0],), tuple(allowed[1:2] or allowed)


def _terms(found: argparse.Namespace) -> Terms:
    """Raises ValueError."""
    servers = tuple(name.strip() for name in found.servers.split(","))
    unknown = [name for name in servers if name not in CONTENDERS]
    if unknown:
        raise ValueError(f"no server {unknown[0]!r}; there are {', '.join(CONTENDERS)}")
    server_cpus, client_cpus = cores()
    return Terms(
        servers=servers,
        cases=tuple(sorted({parse_case(text) for text in found.sizes.split(",")})),
        rounds=found.rounds,
        duration_s=parse_duration(found.duration),
        concurrent=found.concurrent,
        server_cpus=server_cpus,
        client_cpus=client_cpus,
        engine=found.engine,
        asked_warmup_s=None if found.warmup is None else parse_warmup(found.warmup),
    )


def _parser(*, quick: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench" if quick else "forebay bench peers",
        description="Servers beside each other: warm hits of the same bytes, in interleaved rounds.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--servers", default=QUICK if quick else ",".join(CONTENDERS), help="by comma (default: %(default)s)")
    add("--sizes", default=_CASES, help="objects, or RANGE/OBJECT, by comma (default: %(default)s)")
    add("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
    add("--duration", default="2s", help="of one measurement (default: %(default)s)")
    add("--warmup", metavar="TIME", help="before each measurement, not counted (default: 0s with raw, else 2s)")
    add("--concurrent", type=int, default=16, help="connections (default: %(default)s)")
    add("--engine", choices=sorted(ENGINES), default="raw", help="the client (default: %(default)s)")
    add("--dir", help="where files and caches lie while it runs (default: the temporary directory)")
    add("--out", default="bench/results", help="where JSON, PNG and HTML go (default: %(default)s)")
    return parser
