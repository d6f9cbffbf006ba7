"""``make bench``: one Forebay worker beside one tuned nginx worker, on the same bytes, under the same load.

nginx serves the files of a directory and checks nothing; Forebay serves the same files as objects, fetched once from
``rclone serve s3`` over that directory, then from its cache, verifying the signature of every request. Both get the
same signed requests from the same client. The server has one core, the client another.

The main figure is work per CPU second of the server's processes (``bench/cpu.py``), because it holds on a small and
noisy machine, where wall-clock throughput measures the neighbours as well; that is printed beside it. Rounds are
interleaved (``bench/rounds.py``). What is written: a table, ``beside-nginx.json`` and ``beside-nginx.png``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from rich.console import Console

from bench.cpu import CpuTime, read_cpu
from bench.load import LoadFailed, run_load
from bench.machine import read_machine
from bench.operations import OperationFailed, Read
from bench.options import parse_duration
from bench.plan import Door, LoadPlan, Shape
from bench.prepare import over_sessions
from bench.report.comparison import draw_comparison, print_comparison
from bench.result import latency_of
from bench.rounds import FORMAT, Comparison, Sample, order_of, render_json, summarise
from bench.servers.child import Listening, ServerFailed
from bench.servers.forebay import serve_gateway
from bench.servers.nginx import find_nginx, nginx_version, serve_files
from bench.servers.rclone import find_rclone, serve_upstream
from gateway.quantities import parse_bytes, render_bytes

BUCKET: Final = "bench"
REFERENCE: Final = "nginx"
_KEYS: Final = ("AKIDFOREBAYBENCH0001", "a-secret-of-this-machine-only-0001")
_UPSTREAM_KEYS: Final = ("AKIDFOREBAYBENCH0002", "a-secret-of-this-machine-only-0002")
_SET_BYTES_MAX: Final = 64 * 1024 * 1024
_OBJECTS_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Terms:
    """How a comparison is run: sizes in bytes, seconds per measurement, which cores."""

    sizes: tuple[int, ...]
    rounds: int
    duration_s: float
    concurrent: int
    server_cpus: tuple[int, ...]
    client_cpus: tuple[int, ...]

    def plan(self, endpoint: str, size: int) -> LoadPlan:
        """The load on one server at one size."""
        shape = Shape(
            prefix="",
            object_bytes=size,
            objects=object_count(size),
            concurrent=self.concurrent,
            duration_s=self.duration_s,
            discard=True,
        )
        return LoadPlan(door_to(endpoint), shape, timeout_s=30, cpus=self.client_cpus)


def object_count(size: int) -> int:
    """How many objects of ``size`` bytes are read: 256, or fewer where those would not stay in memory easily."""
    return max(min(_OBJECTS_MAX, _SET_BYTES_MAX // size), 1)


def door_to(endpoint: str) -> Door:
    """The door that the client of a comparison knocks at."""
    access_key, secret_key = _KEYS
    return Door((endpoint,), BUCKET, access_key, secret_key)


def main(args: Sequence[str]) -> int:
    """Run the comparison; the exit status: 0, or 1 where it could not be run or a request failed."""
    console = Console(stderr=True, highlight=False)
    found = _parser().parse_args(args)
    try:
        terms = _terms(found)
        find_nginx()
        find_rclone()
        comparison = _run(terms, found.dir, console)
        print_comparison(Console(highlight=False), comparison)
        _write(comparison, Path(found.out))
    except (ServerFailed, LoadFailed, OperationFailed, ValueError, OSError) as fault:
        console.print(f"bench: {fault}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    return 1 if any(row.failed for row in comparison.rows) else 0


def _run(terms: Terms, directory: str | None, console: Console) -> Comparison:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory(prefix="forebay-bench-", dir=directory) as place:
        root = Path(place)
        write_objects(root / "files", terms.sizes)
        with servers(root, terms) as contenders:
            for contender in contenders:
                warm(terms, contender)
            samples = list(compare(terms, contenders, lambda line: console.print(line, style="dim")))
    return Comparison(
        format=FORMAT,
        started=started,
        machine=read_machine(),
        server_cpus=terms.server_cpus,
        client_cpus=terms.client_cpus,
        concurrent=terms.concurrent,
        duration_s=terms.duration_s,
        rounds=terms.rounds,
        reference=REFERENCE,
        versions={"forebay": version("forebay"), REFERENCE: nginx_version()},
        rows=summarise(samples, REFERENCE),
        samples=samples,
    )


def write_objects(root: Path, sizes: Sequence[int]) -> None:
    """Random files under ``root/bench``, as the keys of a comparison name them."""
    for size in sizes:
        for each in Shape(prefix="", object_bytes=size, objects=object_count(size)).objects_read():
            path = root / BUCKET / each.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(size))


@contextmanager
def servers(root: Path, terms: Terms) -> Iterator[list[Listening]]:
    """The files by nginx and by Forebay, over ``root/files``, and the upstream behind the latter."""
    files, cpus = root / "files", terms.server_cpus
    with ExitStack() as stack:
        access_key, secret_key = _UPSTREAM_KEYS
        upstream = stack.enter_context(
            serve_upstream(files, root / "rclone", access_key=access_key, secret_key=secret_key, cpus=terms.client_cpus)
        )
        behind = Door((upstream.endpoint,), BUCKET, access_key, secret_key)
        access_key, secret_key = _KEYS
        forebay = serve_gateway(behind, root / "forebay", access_key=access_key, secret_key=secret_key, cpus=cpus)
        yield [
            stack.enter_context(serve_files(files, root / "nginx", cpus=cpus)),
            stack.enter_context(forebay),
        ]


def warm(terms: Terms, contender: Listening) -> None:
    """Read every object twice, so that what is measured are hits. Raises OperationFailed."""
    for size in terms.sizes:
        plan = terms.plan(contender.endpoint, size)
        reads = [Read(each.key, each.size) for each in plan.shape.objects_read()]
        for _ in range(2):
            over_sessions(plan, lambda session, read: session.perform(read), reads)


def compare(
    terms: Terms, contenders: Sequence[Listening], say: Callable[[str], None] = lambda _: None
) -> Iterator[Sample]:
    """Measure all contenders at all sizes in interleaved rounds; one line to ``say`` for each sample."""
    by_name = {contender.name: contender for contender in contenders}
    for turn in range(terms.rounds):
        for size in terms.sizes:
            for name in order_of(list(by_name), turn):
                sample = measure(terms, by_name[name], size, turn)
                say(
                    f"round {turn + 1}/{terms.rounds}  {render_bytes(size):>8}  {name:<8}"
                    f"{sample.requests_per_cpu_s:>10,.0f} requests/CPU-s {sample.gb_per_cpu_s:>8.2f} GB/CPU-s"
                )
                yield sample


def measure(terms: Terms, contender: Listening, size: int, turn: int) -> Sample:
    """One measurement of one server."""
    before: list[CpuTime] = []
    report = run_load(terms.plan(contender.endpoint, size), on_begin=lambda: before.append(read_cpu(contender.pid)))
    used = read_cpu(contender.pid).since(before[0])
    return Sample(
        contender=contender.name,
        object_bytes=size,
        round=turn,
        requests=report.requests,
        bytes=report.bytes,
        failed=sum(report.errors.values()),
        wall_s=report.last_s - report.begin_s,
        cpu_s=used.total_s,
        user_s=used.user_s,
        latency=latency_of(report.total.histogram()),
    )


def _write(comparison: Comparison, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "beside-nginx.json").write_bytes(render_json(comparison))
    draw_comparison(comparison, str(out / "beside-nginx.png"))


def _terms(found: argparse.Namespace) -> Terms:
    cpus = sorted(os.sched_getaffinity(0))
    return Terms(
        sizes=tuple(sorted(parse_bytes(size) for size in found.sizes.split(","))),
        rounds=found.rounds,
        duration_s=parse_duration(found.duration),
        concurrent=found.concurrent,
        server_cpus=(cpus[0],),
        client_cpus=tuple(cpus[1:2] or cpus),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="One Forebay worker beside one nginx worker.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--sizes", default="4KiB,64KiB,1MiB,8MiB", help="object sizes, by comma (default: %(default)s)")
    add("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
    add("--duration", default="2s", help="of one measurement (default: %(default)s)")
    add("--concurrent", type=int, default=16, help="connections (default: %(default)s)")
    add("--dir", help="where files and cache lie while it runs (default: the temporary directory)")
    add("--out", default="bench/results", help="where JSON and PNG go (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
