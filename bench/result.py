"""The result of a run: what was asked, on which machine, and what came of it. The JSON file is this value.

Rates are taken over the planned window: what arrived in it, divided by its length. ``requests`` and ``bytes`` count
everything, the tail after the window too, so they agree with what the server counted. ``GB`` is 10⁹ bytes. GB/s per GPU
is the rate divided by the GPUs that the load stands for; ``target_share`` is that over the target (1.0: met).

``judge_run`` makes a result from a report; ``render_json`` and ``parse_json`` keep it. It holds no secret. Sans-IO.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bench.histogram import Histogram
from bench.plan import LoadPlan, Shape
from bench.recorder import Durations, LoadReport

FORMAT: Final = 1
_MS: Final = 1e6


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


class Result(msgspec.Struct, frozen=True):
    """A run; see the module. ``started``: ISO 8601, UTC. ``errors``: by S3 error code or our own word."""

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
    )


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
