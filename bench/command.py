"""``forebay bench``: prepare, run, report. The verb passes all its arguments to :func:`main`.

In running order: options, objects, load, result, table, files, clear-up. The exit status is 0 for a run that worked,
1 for one in which no operation succeeded or that could not be made, 2 for options that make no sense. Whatever way a
run ends, what it uploaded is removed again (unless ``--noclear``), and only that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console

from bench.cpu import ClientCpu, CpuTime, read_cpu_of
from bench.load import LoadFailed, run_load
from bench.machine import read_machine
from bench.operations import BenchObject
from bench.options import BenchOptions, parse_options
from bench.prepare import PrepareFailed, clear, leavings, prepare
from bench.recorder import LoadReport
from bench.report.bar import preparing, running
from bench.report.html import render_html
from bench.report.plot import draw_result
from bench.report.table import print_result
from bench.result import CpuUse, Result, judge_cost, judge_run, public_command, render_json
from bench.verbs import VERBS, run_verb


def main(args: Sequence[str]) -> int:
    """Run what ``args`` say; the exit status."""
    if args and args[0] in VERBS:
        return run_verb(args[0], args[1:])
    try:
        options = parse_options(args, os.environ)
    except SystemExit as end:  # argparse has said why
        return int(end.code or 0)
    try:
        result = run(options, Console(stderr=True))
        _report(options, msgspec.structs.replace(result, command=public_command("forebay bench", args)))
    except (LoadFailed, PrepareFailed, ValueError, OSError) as fault:
        Console(stderr=True).print(f"forebay bench: {fault}", style="red", highlight=False, markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0 if result.requests else 1


def run(options: BenchOptions, console: Console) -> Result:
    """Prepare, run and judge. Raises LoadFailed, PrepareFailed."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with _objects(options, console):
        report, use = _load(options, console)
    result = judge_run(
        options.plan, report, gpus=options.gpus, target=options.target, machine=read_machine(), started=started
    )
    return msgspec.structs.replace(result, cost=judge_cost(report, use) if use else None)


@contextmanager
def _objects(options: BenchOptions, console: Console) -> Iterator[None]:
    made: list[BenchObject] = []
    try:
        if options.prepare:
            with preparing(console, options.plan.shape.objects, quiet=options.quiet) as on_progress:
                prepare(options.plan, made, on_progress)
        if options.clear:
            made.extend(leavings(options.plan))
        yield
    finally:
        if options.clear and made:
            clear(options.plan, made)


def _load(options: BenchOptions, console: Console) -> tuple[LoadReport, CpuUse | None]:
    before = CpuTime({})
    clients = ClientCpu()

    shape = options.plan.shape
    with running(console, shape.duration_s, warmup_s=shape.warmup_s, quiet=options.quiet) as (begin_bar, on_progress):

        def on_begin() -> None:
            nonlocal before
            begin_bar()
            before = read_cpu_of(options.server_pids)
            clients.begin()

        report = run_load(options.plan, on_progress, on_begin=on_begin)
    if not options.server_pids:
        return report, None
    used = read_cpu_of(options.server_pids).since(before)
    return report, CpuUse(used.total_s, used.user_s, clients.used_s())


def _report(options: BenchOptions, result: Result) -> None:
    print_result(Console(file=sys.stdout), result)
    if options.json_path:
        Path(options.json_path).write_bytes(render_json(result))
    if options.png_path:
        draw_result(result, options.png_path)
    if options.html_path:
        Path(options.html_path).write_text(render_html(result), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
