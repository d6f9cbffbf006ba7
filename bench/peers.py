"""Servers beside each other: the same bytes, the same load, in one run and in interleaved rounds.

Contenders are made here by name. ``forebay``: one worker over the upstream, from its cache, verifying every request;
``nginx``: one tuned worker over the files, checking nothing; ``varnish`` and ``rclone``: caches in front of the same
upstream; ``upstream``: ``rclone serve s3`` over the files, directly. All are warm: every object was read twice before.
Servers have one core, clients (and the upstream that the caches fill from) another. One that is not installed is left
out with a line. What a second of server CPU does is the main figure (``bench/cpu.py``); ``bench/rounds.py`` judges.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from bench.cpu import ClientCpu, CpuTime, read_cpu
from bench.load import run_load
from bench.machine import read_machine
from bench.operations import Read
from bench.plan import Door, LoadPlan
from bench.prepare import over_sessions
from bench.result import latency_of
from bench.rounds import FORMAT, Case, Comparison, Sample, order_of, summarise
from bench.servers.child import Listening, ServerFailed
from bench.servers.forebay import serve_gateway
from bench.servers.nginx import find_nginx, nginx_version, serve_files
from bench.servers.rclone import find_rclone, rclone_version, serve_cached, serve_upstream
from bench.servers.varnish import find_varnish, serve_varnish, varnish_version

BUCKET: Final = "bench"
KEYS: Final = ("AKIDFOREBAYBENCH0001", "a-secret-of-this-machine-only-0001")
UPSTREAM_KEYS: Final = ("AKIDFOREBAYBENCH0002", "a-secret-of-this-machine-only-0002")
CLIENT_WARMUP_S: Final = 2.0
_BLOCK_BYTES: Final = 16 * 1024 * 1024

Say = Callable[[str], None]
Serve = Callable[["Grounds"], AbstractContextManager[Listening]]


@dataclass(frozen=True, slots=True)
class Terms:
    """How a comparison is run: who, what, seconds per measurement, which cores.

    ``asked_warmup_s``: before each measurement; None: ``CLIENT_WARMUP_S`` with a client library, which begins slowly
    whatever the server does, and none with ``raw``.
    """

    servers: tuple[str, ...]
    cases: tuple[Case, ...]
    rounds: int
    duration_s: float
    concurrent: int
    server_cpus: tuple[int, ...]
    client_cpus: tuple[int, ...]
    engine: str = "raw"
    asked_warmup_s: float | None = None

    @property
    def warmup_s(self) -> float:
        """How long clients work before a measurement."""
        if self.asked_warmup_s is not None:
            return self.asked_warmup_s
        return 0.0 if self.engine == "raw" else CLIENT_WARMUP_S

    def plan(self, endpoint: str, case: Case) -> LoadPlan:
        """The load on one server at one case."""
        shape = case.shape(
            engine=self.engine,
            concurrent=self.concurrent,
            duration_s=self.duration_s,
            warmup_s=self.warmup_s,
            discard=self.engine == "raw",
        )
        return LoadPlan(door_to(endpoint), shape, timeout_s=30, cpus=self.client_cpus)


@dataclass(frozen=True, slots=True)
class Grounds:
    """What contenders are made from: the files, the upstream over them, a directory for their state, their cores."""

    files: Path
    upstream: Door
    state: Path
    cpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Contender:
    """How to find out whether a server is installed (its version; raises ServerFailed), and how to start it."""

    version: Callable[[], str]
    serve: Serve


def _forebay(grounds: Grounds) -> AbstractContextManager[Listening]:
    access_key, secret_key = KEYS
    return serve_gateway(
        grounds.upstream, grounds.state / "forebay", access_key=access_key, secret_key=secret_key, cpus=grounds.cpus
    )


def _upstream(grounds: Grounds) -> AbstractContextManager[Listening]:
    access_key, secret_key = KEYS
    state = grounds.state / "directly"
    return serve_upstream(grounds.files, state, access_key=access_key, secret_key=secret_key, cpus=grounds.cpus)


CONTENDERS: Final[Mapping[str, Contender]] = MappingProxyType(
    {
        "forebay": Contender(lambda: version("forebay"), _forebay),
        "nginx": Contender(
            lambda: find_nginx() and nginx_version(), lambda g: serve_files(g.files, g.state / "nginx", cpus=g.cpus)
        ),
        "varnish": Contender(
            lambda: find_varnish() and varnish_version(),
            lambda g: serve_varnish(g.upstream.endpoints[0], g.state / "varnish", cpus=g.cpus),
        ),
        "rclone": Contender(
            lambda: find_rclone() and rclone_version(),
            lambda g: serve_cached(g.upstream, g.state / "rclone", keys=[KEYS], cpus=g.cpus),
        ),
        "upstream": Contender(lambda: find_rclone() and rclone_version(), _upstream),
    }
)


def door_to(endpoint: str) -> Door:
    """The door that the client of a comparison knocks at."""
    access_key, secret_key = KEYS
    return Door((endpoint,), BUCKET, access_key, secret_key)


def installed(names: Sequence[str], say: Say) -> dict[str, str]:
    """The versions of those servers that are installed; a line to ``say`` for each of the others."""
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = CONTENDERS[name].version()
        except ServerFailed as fault:
            say(f"without {name}: {fault}")
    return found


def run_peers(terms: Terms, directory: str | None, say: Say) -> Comparison:
    """Make files and servers, measure, clear away. Raises ServerFailed, LoadFailed, OperationFailed."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    versions = installed(terms.servers, say)
    if not versions:
        raise ServerFailed("none of the servers is installed")
    with tempfile.TemporaryDirectory(prefix="forebay-bench-", dir=directory) as place:
        root = Path(place)
        write_objects(root / "files", terms.cases)
        with serving(root, terms, list(versions)) as contenders:
            for contender in contenders:
                say(f"warming {contender.name}")
                warm(terms, contender)
            samples = list(compare(terms, contenders, say))
    reference = "nginx" if "nginx" in versions else next(iter(reversed(versions)))
    return Comparison(
        format=FORMAT,
        started=started,
        machine=read_machine(),
        server_cpus=terms.server_cpus,
        client_cpus=terms.client_cpus,
        engine=terms.engine,
        concurrent=terms.concurrent,
        duration_s=terms.duration_s,
        rounds=terms.rounds,
        reference=reference,
        versions=versions,
        rows=summarise(samples, reference),
        samples=samples,
        warmup_s=terms.warmup_s,
    )


def write_objects(root: Path, cases: Sequence[Case]) -> None:
    """Random files under ``root/bench``, as the keys of a comparison name them."""
    for case in cases:
        for each in case.shape().objects_read():
            path = root / BUCKET / each.key
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for start in range(0, each.size, _BLOCK_BYTES):
                    file.write(os.urandom(min(_BLOCK_BYTES, each.size - start)))


@contextmanager
def serving(root: Path, terms: Terms, names: Sequence[str]) -> Iterator[list[Listening]]:
    """The servers of those names over ``root/files``, and the upstream behind the caches among them."""
    files = root / "files"
    access_key, secret_key = UPSTREAM_KEYS
    with ExitStack() as stack:
        behind = serve_upstream(
            files,
            root / "behind",
            access_key=access_key,
            secret_key=secret_key,
            other_keys=[KEYS],  # varnish passes the client's own signature on
            cpus=terms.client_cpus,
        )
        upstream = Door((stack.enter_context(behind).endpoint,), BUCKET, access_key, secret_key)
        grounds = Grounds(files, upstream, root, terms.server_cpus)
        yield [stack.enter_context(CONTENDERS[name].serve(grounds)) for name in names]


def warm(terms: Terms, contender: Listening) -> None:
    """Read every object twice, whole, so that what is measured are hits. Raises OperationFailed."""
    for case in terms.cases:
        plan = terms.plan(contender.endpoint, case)
        plan = msgspec.structs.replace(plan, shape=msgspec.structs.replace(plan.shape, engine="raw", discard=True))
        reads = [Read(each.key, each.size) for each in plan.shape.objects_read()]
        for _ in range(2):
            over_sessions(plan, lambda session, read: session.perform(read), reads)


def compare(terms: Terms, contenders: Sequence[Listening], say: Say = lambda _: None) -> Iterator[Sample]:
    """Measure all contenders at all cases in interleaved rounds; one line to ``say`` for each sample."""
    by_name = {contender.name: contender for contender in contenders}
    for turn in range(terms.rounds):
        for case in terms.cases:
            for name in order_of(list(by_name), turn):
                sample = measure(terms, by_name[name], case, turn)
                say(
                    f"round {turn + 1}/{terms.rounds}  {case.name:>16}  {name:<9}"
                    f"{sample.requests_per_cpu_s:>10,.0f} requests/CPU-s {sample.gb_per_cpu_s:>8.2f} GB/CPU-s"
                )
                yield sample


def measure(terms: Terms, contender: Listening, case: Case, turn: int) -> Sample:
    """One measurement of one server. Raises KeyboardInterrupt where it was interrupted before it measured anything."""
    before = CpuTime({})
    clients = ClientCpu()

    def on_begin() -> None:
        nonlocal before
        before = read_cpu(contender.pid)
        clients.begin()

    report = run_load(terms.plan(contender.endpoint, case), on_begin=on_begin)
    if report.last_s <= report.begin_s:
        raise KeyboardInterrupt  # the run took the interruption for the end of its warm-up
    used = read_cpu(contender.pid).since(before)
    return Sample(
        contender=contender.name,
        case=case,
        round=turn,
        requests=report.requests,
        bytes=report.bytes,
        failed=sum(report.errors.values()),
        wall_s=report.last_s - report.begin_s,
        cpu_s=used.total_s,
        user_s=used.user_s,
        client_cpu_s=clients.used_s(),
        latency=latency_of(report.total.histogram()),
    )
