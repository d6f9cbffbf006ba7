"""The result of a run: what was asked, on which machine, and what came of it. The JSON file is this value.

Rates are taken over the planned window: what arrived in it, divided by its length. ``requests`` and ``bytes`` count
everything, the tail after the window too, so they agree with what the server counted. ``GB`` is 10⁹ bytes. GB/s per GPU
is the rate divided by the GPUs that the load stands for; ``target_share`` is that over the target (1.0: met). Where the
server's processes are on this machine and named, ``cost`` says what a request cost them.

``judge_run`` makes a result from a report; ``render_json`` and ``parse_json`` keep it. It holds no secret: of the
command that made it, ``public_command`` keeps what may be shown. Sans-IO.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

import msgspec

from bench.histogram import Histogram
from bench.plan import LoadPlan, Shape
from bench.recorder import Durations, LoadReport

FORMAT: Final = 1
_MS: Final = 1e6
_SECRET_OPTIONS: Final = ("--access-key", "--secret-key", "--session-token")


class Machine(msgspec.Struct, frozen=True):
    """Where the clients ran. ``versions``: Forebay's, and those of the clients' libraries."""

    cpu: str
    cores: int
    memory_bytes: int
    kernel: str
    python: str
    versions: dict[str, str]


class Latency(msgspec.Struct, frozen=True):
    """Durations in milliseconds; percentiles are exact to 0.8 %, mean and max are exact."""

    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


class Rates(msgspec.Struct, frozen=True):
    """Over the window of ``window_s``. ``interval_gb_per_s`` is the same by interval of ``interval_s``."""

    window_s: float
    gb_per_s: float
    requests_per_s: float
    interval_s: float
    interval_gb_per_s: list[float]


class PerGpu(msgspec.Struct, frozen=True):
    """What each GPU gets, in GB/s, beside what it should."""

    gpus: int
    target_gb_per_s: float
    gb_per_s: float
    target_share: float


class CpuUse(msgspec.Struct, frozen=True):
    """CPU seconds during a run: the server's processes, ``user_s`` of them in user mode, and the clients' own."""

    cpu_s: float
    user_s: float
    client_cpu_s: float


class Cost(msgspec.Struct, frozen=True):
    """What a run cost its server. ``busy`` and ``client_busy``: cores in use on the average, server and clients."""

    use: CpuUse
    us_per_request: float
    cpu_s_per_gb: float
    requests_per_cpu_s: float
    gb_per_cpu_s: float
    busy: float
    client_busy: float


class KindResult(msgspec.Struct, frozen=True):
    """One kind of operation (``GET``, ``PUT`` …) in a run of several; rates over the whole time that the run took."""

    requests: int
    bytes: int
    failed: int
    requests_per_s: float
    gb_per_s: float
    latency: Latency


class Result(msgspec.Struct, frozen=True):
    """A run; see the module. ``started``: ISO 8601, UTC. ``errors``: by S3 error code or our own word.

    ``command`` repeats the run (keys left out); ``cost`` is None where the server's processes are not known.
    ``latency`` counts from the intended start; in an open loop ``service`` is the same from the actual one, and
    ``unsent`` says how many operations were due and never began: a rate that was not held. ``kinds``: the run by kind
    of operation.
    """

    format: int
    started: str
    endpoints: tuple[str, ...]
    bucket: str
    shape: Shape
    machine: Machine
    requests: int
    bytes: int
    errors: dict[str, int]
    rates: Rates
    per_gpu: PerGpu
    latency: Latency
    first_byte: Latency
    latency_buckets: Durations
    first_byte_buckets: Durations | None = None
    cost: Cost | None = None
    command: str = ""
    service: Latency | None = None
    unsent: int = 0
    kinds: dict[str, KindResult] = {}
    service_buckets: Durations | None = None

    @property
    def failed(self) -> int:
        """How many operations ended as an error."""
        return sum(self.errors.values())


def judge_run(
    plan: LoadPlan, report: LoadReport, *, gpus: int, target: float, machine: Machine, started: str
) -> Result:
    """The result of a run; ``target`` in bytes/s per GPU."""
    rates = _rates(plan.shape, report)
    each = rates.gb_per_s / gpus
    return Result(
        format=FORMAT,
        started=started,
        endpoints=plan.door.endpoints,
        bucket=plan.door.bucket,
        shape=plan.shape,
        machine=machine,
        requests=report.requests,
        bytes=report.bytes,
        errors=dict(sorted(report.errors.items())),
        rates=rates,
        per_gpu=PerGpu(gpus, target / 1e9, each, each / (target / 1e9)),
        latency=latency_of(report.total.histogram()),
        first_byte=latency_of(report.first_byte.histogram()),
        latency_buckets=report.total,
        first_byte_buckets=report.first_byte,
        service=latency_of(report.service.histogram()) if report.service.buckets else None,
        unsent=report.unsent,
        kinds=_kinds(report),
        service_buckets=report.service if report.service.buckets else None,
    )


def judge_cost(report: LoadReport, use: CpuUse) -> Cost:
    """What the requests of a report cost, given the CPU time that was used meanwhile."""
    wall_s = max(report.last_s - report.begin_s, 1e-9)
    gigabytes = report.bytes / 1e9
    return Cost(
        use=use,
        us_per_request=_over(use.cpu_s * 1e6, report.requests),
        cpu_s_per_gb=_over(use.cpu_s, gigabytes),
        requests_per_cpu_s=_over(report.requests, use.cpu_s),
        gb_per_cpu_s=_over(gigabytes, use.cpu_s),
        busy=use.cpu_s / wall_s,
        client_busy=use.client_cpu_s / wall_s,
    )


def public_command(program: str, args: Sequence[str]) -> str:
    """The command line as a shell would take it, without the values that are secret."""
    shown: list[str] = []
    hidden = False
    for word in args:
        name, equals, _ = word.partition("=")
        if hidden:
            hidden = False
        elif name in _SECRET_OPTIONS:
            hidden = not equals
        else:
            shown.append(shlex.quote(word))
    return " ".join([program, *shown])


def latency_of(histogram: Histogram) -> Latency:
    """A histogram's summary."""
    shares = (50, 90, 99, 99.9)
    p50, p90, p99, p999 = (histogram.percentile(share) / _MS for share in shares)
    return Latency(histogram.mean_ns / _MS, p50, p90, p99, p999, histogram.largest_ns / _MS)


def render_json(result: Result) -> bytes:
    """The result as an indented JSON document."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"


def parse_json(document: bytes) -> Result:
    """The result in a document. Raises ValueError where it is none, or of another format."""
    result = msgspec.json.decode(document, type=Result)
    if result.format != FORMAT:
        raise ValueError(f"a result of format {result.format}; this version reads format {FORMAT}")
    return result


def _kinds(report: LoadReport) -> dict[str, KindResult]:
    wall_s = report.last_s - report.begin_s
    return {
        name: KindResult(
            requests=kind.requests,
            bytes=kind.bytes,
            failed=kind.failed,
            requests_per_s=_over(kind.requests, wall_s),
            gb_per_s=_over(kind.bytes / 1e9, wall_s),
            latency=latency_of(kind.total.histogram()),
        )
        for name, kind in report.kinds.items()
    }


def _over(amount: float, by: float) -> float:
    return amount / by if by > 0 else 0.0


def _rates(shape: Shape, report: LoadReport) -> Rates:
    planned = round(shape.duration_s / report.interval_s)
    ran = max(int((report.last_s - report.begin_s) / report.interval_s), 1)
    count = min(planned, ran)  # a run that was interrupted has a shorter window
    window_s = count * report.interval_s
    sizes = [*report.interval_bytes[:count], *[0.0] * (count - len(report.interval_bytes))]
    return Rates(
        window_s=window_s,
        gb_per_s=sum(sizes) / window_s / 1e9,
        requests_per_s=sum(report.interval_requests[:count]) / window_s,
        interval_s=report.interval_s,
        interval_gb_per_s=[size / report.interval_s / 1e9 for size in sizes],
    )
