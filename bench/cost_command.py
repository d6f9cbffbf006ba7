"""``forebay bench cost RESULT.json … --gpus N --target 7GB/s``: how many cores and nodes feed so many GPUs.

Reads what was measured: ``lines.json`` (hits, misses, forwards, remote hits), the JSON of ``peers`` (hits), or that of
a plain run whose server was named (``--server-pid``; ``--path`` says which path it measured). Without ``--hit``, the
ring decides which part of what is cached is local. Exit status: 0; 1 where a file is of no use; 2 for arguments that
make no sense.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from bench import rounds
from bench.cost import PATHS, Need, PathSample, default_shares, fit_costs, plan_nodes
from bench.lines import document
from bench.lines.hits import costs_of
from bench.report.plan import print_plan
from bench.result import parse_json
from gateway.quantities import parse_bytes, parse_rate


def main(args: Sequence[str]) -> int:
    """Plan with the files in ``args``; the exit status."""
    parser = _parser()
    found = parser.parse_args(args)
    try:
        need = _need(found)
    except ValueError as fault:
        parser.error(str(fault))
    try:
        samples = [sample for name in found.results for sample in read_samples(Path(name), found.path)]
        costs = fit_costs(samples)
    except (OSError, ValueError) as fault:
        Console(stderr=True, style="red", highlight=False, markup=False, soft_wrap=True).print(
            f"forebay bench cost: {fault}"
        )
        return 1
    print_plan(Console(file=sys.stdout, highlight=False), need, costs, plan_nodes(costs, need))
    return 0


def read_samples(path: Path, of_run: str) -> list[PathSample]:
    """What a file measured. Raises OSError; ValueError where it is none of the three kinds, or names no cost."""
    raw = path.read_bytes()
    readers: tuple[Callable[[], list[PathSample]], ...] = (
        lambda: document.parse_json(raw).costs,
        lambda: costs_of(rounds.parse_json(raw)),
        lambda: _of_run(raw, of_run),
    )
    for read in readers:
        try:
            samples = read()
        except msgspec.ValidationError:
            continue
        if not samples:
            raise ValueError(f"{path} holds no cost: name the server's process with --server-pid")
        return samples
    raise ValueError(f"{path} is no result of forebay bench")


def _of_run(raw: bytes, path: str) -> list[PathSample]:
    run = parse_json(raw)
    if run.cost is None or not run.requests:
        return []
    return [PathSample(path, run.requests, run.bytes, run.cost.use.cpu_s, run.bytes // run.requests)]


def _need(found: argparse.Namespace) -> Need:
    """Raises ValueError."""
    nodes = -(-found.gpus // found.gpus_per_node)
    shares = default_shares(nodes, miss=found.miss, forward=found.forward)
    if found.hit is not None:
        cached = shares["hit"] + shares["remote"]
        if not 0 <= found.hit <= cached:
            raise ValueError("--hit is a part of what is cached")
        shares |= {"hit": found.hit, "remote": cached - found.hit}
    if not 0 < found.busy <= 1:
        raise ValueError("--busy is a part of a core")
    request_bytes = parse_bytes(found.request)
    if request_bytes == 0:
        raise ValueError("--request cannot be empty")
    return Need(found.gpus, parse_rate(found.target), found.gpus_per_node, request_bytes, shares, found.busy)


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no count; write a whole number from 1 up")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="forebay bench cost", description="Cores and nodes for so many GPUs.", allow_abbrev=False
    )
    add = parser.add_argument
    add("results", nargs="+", metavar="RESULT.json", help="lines.json, peers.json, or runs with --server-pid")
    add("--gpus", type=_positive, required=True, metavar="N")
    add("--target", default="7GB/s", metavar="RATE", help="per GPU (default: %(default)s)")
    add("--gpus-per-node", type=_positive, default=8, metavar="N", help="default: %(default)s")
    add("--request", default="8MiB", metavar="SIZE", help="what one read asks for (default: %(default)s)")
    add("--miss", type=float, default=0.02, metavar="SHARE", help="of the bytes (default: %(default)s)")
    add("--forward", type=float, default=0.0, metavar="SHARE", help="of the bytes (default: %(default)s)")
    add("--hit", type=float, metavar="SHARE", help="of the bytes, from the node's own disk (default: the ring's)")
    add("--busy", type=float, default=0.7, metavar="SHARE", help="of a core, that may be used (default: %(default)s)")
    add("--path", choices=PATHS, default="hit", help="what plain runs measured (default: %(default)s)")
    return parser
