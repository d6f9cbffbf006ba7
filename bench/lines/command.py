"""``forebay bench lines``: every line that Forebay's speed is held to, beside its figure, met or unmet.

Groups are measured one after the other; one that cannot be (a server is missing, a library) is a line in the table of
what failed, and the others go on. The JSON goes to ``<out>/lines.json`` (a page to ``lines.html``) and is what
``forebay bench cost`` plans with. Exit status: 0 (unmet lines included: a figure is no failure); 1 where a group
failed; 2 for arguments without sense.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console

from bench.lines.document import FORMAT, LinesResult, Outcome, render_json
from bench.lines.exchange import ExchangeFailed
from bench.lines.groups import GROUPS
from bench.lines.seeding import SeedFailed
from bench.lines.stage import Stage
from bench.load import LoadFailed
from bench.machine import read_machine
from bench.operations import OperationFailed
from bench.peers_command import cores
from bench.report.lines import render_lines
from bench.report.verdicts import print_verdicts
from bench.result import public_command
from bench.servers.child import ServerFailed
from cache.faults import Fault

_EXPECTED = (ServerFailed, LoadFailed, OperationFailed, ExchangeFailed, SeedFailed, Fault, OSError, ValueError)


def main(args: Sequence[str]) -> int:
    """Measure the groups that ``args`` name; the exit status."""
    console = Console(stderr=True, highlight=False)
    parser = _parser()
    found = parser.parse_args(args)
    names = [name.strip() for name in found.only.split(",")] if found.only else list(GROUPS)
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        parser.error(f"no group {unknown[0]!r}; there are {', '.join(GROUPS)}")
    if not 0 < found.scale <= 1 or found.rounds < 1:
        parser.error("--scale is more than 0 and at most 1, --rounds at least 1")
    try:
        result = run_lines(names, found, console)
    except KeyboardInterrupt:
        return 130
    result = msgspec.structs.replace(result, command=public_command("forebay bench lines", args))
    _report(result, Path(found.out), Console(file=sys.stdout, highlight=False))
    return 1 if result.failed else 0


def run_lines(names: Sequence[str], found: argparse.Namespace, console: Console) -> LinesResult:
    """Measure the groups of those names."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    outcomes: dict[str, Outcome] = {}
    failed: dict[str, str] = {}
    server_cpus, client_cpus = cores()
    with _pinned(client_cpus):
        for name in names:
            console.print(f"{name} …", style="bold")
            try:
                outcomes[name] = _run(name, found, console, (server_cpus, client_cpus))
                print_verdicts(console, outcomes[name].verdicts)
            except _EXPECTED as fault:
                failed[name] = str(fault) or type(fault).__name__
                console.print(f"{name}: {failed[name]}", style="red", markup=False)
    return LinesResult(
        format=FORMAT,
        started=started,
        machine=read_machine(),
        scale=found.scale,
        rounds=found.rounds,
        verdicts=[verdict for outcome in outcomes.values() for verdict in outcome.verdicts],
        costs=[sample for outcome in outcomes.values() for sample in outcome.costs],
        figures={name: msgspec.to_builtins(outcome.figures) for name, outcome in outcomes.items()},
        failed=failed,
    )


@contextmanager
def _pinned(cpus: Sequence[int]) -> Iterator[None]:
    """This process, whose sessions are clients, leaves the servers' core alone."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _run(
    name: str, found: argparse.Namespace, console: Console, cpus: tuple[tuple[int, ...], tuple[int, ...]]
) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="forebay-lines-", dir=found.dir) as place:
        stage = Stage(
            root=Path(place),
            scale=found.scale,
            rounds=found.rounds,
            server_cpus=cpus[0],
            client_cpus=cpus[1],
            say=lambda line: console.print(f"  {line}", style="dim", markup=False),
        )
        return GROUPS[name](stage)


def _report(result: LinesResult, out: Path, console: Console) -> None:
    print_verdicts(console, sorted(result.verdicts, key=lambda verdict: verdict.group))
    for name, why in result.failed.items():
        console.print(f"not measured: {name}: {why}", style="red", markup=False)
    met = sum(verdict.met for verdict in result.verdicts)
    trial = "" if result.scale == 1 else f"; a trial at scale {result.scale:g}: these figures do not count"
    console.print(f"{met} of {len(result.verdicts)} lines met{trial}")
    out.mkdir(parents=True, exist_ok=True)
    (out / "lines.json").write_bytes(render_json(result))
    (out / "lines.html").write_text(render_lines(result), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="forebay bench lines", description="Every line beside its figure.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--only", metavar="GROUP,…", help=f"some groups: {', '.join(GROUPS)} (default: all)")
    add("--scale", type=float, default=1.0, help="shrink what is moved, for a trial (default: %(default)s)")
    add("--rounds", type=int, default=5, help="how often each figure is taken (default: %(default)s)")
    add("--dir", help="where files and caches lie while it runs (default: the temporary directory)")
    add("--out", default="bench/results", help="where lines.json goes (default: %(default)s)")
    return parser
