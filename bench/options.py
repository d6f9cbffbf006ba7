"""The command line of ``forebay bench``, as values.

Names are warp's wherever warp has one (``--host``, ``--obj.size``, ``--objects``, ``--concurrent``, ``--duration``,
``--lookup``, ``--noclear`` …), so that a line written for it runs here; ``--endpoint URL`` is ``--host`` with a scheme.
What a flag leaves out comes from the environment: warp's variables first (``WARP_HOST``, ``WARP_ACCESS_KEY``,
``WARP_SECRET_KEY``), then those of every AWS tool. Sizes and rates are written as everywhere in Forebay
(``gateway/quantities.py``), durations as Go writes them (``30s``, ``1m30s``, ``500ms``).

A value that makes no sense ends in one line that names the option, and exit status 2. Reads its arguments only.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar

from typing_extensions import override

from bench.engines import ENGINES
from bench.plan import Door, LoadPlan, Shape
from bench.workloads import WORKLOADS
from gateway.quantities import parse_bytes, parse_rate

_Value = TypeVar("_Value")
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)
_EPILOG: Final = """\
example:
  forebay bench --host 127.0.0.1:9000 --bucket bench --obj.size 8MiB --objects 64 \\
                --duration 30s --gpus 8 --target 7GB/s --json run.json --png run.png
"""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """A run as it was asked for: its plan, and what to do before and after. ``target``: bytes/s per GPU."""

    plan: LoadPlan
    gpus: int
    target: float
    prepare: bool
    clear: bool
    json_path: str
    png_path: str
    html_path: str
    server_pids: tuple[int, ...]
    quiet: bool


def parse_duration(text: str) -> float:
    """Seconds, from ``30s``, ``1m30s``, ``500ms`` or a plain number. Raises ValueError."""
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        seconds = float(text)
    else:
        parts = _PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError(f"{text!r} is no duration; write one such as 30s, 1m30s or 500ms")
        seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if not seconds > 0:
        raise ValueError(f"{text!r} is no duration; it must be longer than nothing")
    return seconds


def parse_options(args: Sequence[str], environ: Mapping[str, str]) -> BenchOptions:
    """The options in ``args``. Prints and raises SystemExit (2) where they make no sense, (0) for ``--help``."""
    parser = _parser()
    found = parser.parse_args(args)
    if found.verb and found.workload and found.verb != found.workload:
        parser.error(f"{found.verb!r} and --workload {found.workload} contradict each other")
    try:
        return _options(found, environ)
    except ValueError as fault:
        parser.error(str(fault))


def _options(found: argparse.Namespace, environ: Mapping[str, str]) -> BenchOptions:
    plan = LoadPlan(door=_door(found, environ), shape=_shape(found), timeout_s=found.timeout, seed=found.seed)
    return BenchOptions(
        plan=plan,
        gpus=found.gpus,
        target=found.target,
        prepare=not found.noprepare,
        clear=not (found.noclear or found.noprepare),
        json_path=found.json or "",
        png_path=found.png or "",
        html_path=found.html or "",
        server_pids=found.server_pid,
        quiet=found.quiet,
    )


def _door(found: argparse.Namespace, environ: Mapping[str, str]) -> Door:
    hosts = found.host or _first(environ, "WARP_HOST", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") or "127.0.0.1:9000"
    return Door(
        endpoints=tuple(_endpoint(host.strip(), tls=found.tls) for host in hosts.split(",") if host.strip()),
        bucket=found.bucket,
        access_key=found.access_key or _first(environ, "WARP_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
        secret_key=found.secret_key or _first(environ, "WARP_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"),
        session_token=found.session_token or _first(environ, "AWS_SESSION_TOKEN"),
        region=found.region or _first(environ, "WARP_REGION", "AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1",
        lookup=found.lookup,
        insecure=found.insecure,
    )


def _endpoint(host: str, *, tls: bool) -> str:
    if "://" not in host:
        return f"{'https' if tls else 'http'}://{host}"
    if not host.startswith(("http://", "https://")):
        raise ValueError(f"--endpoint {host}: write http://HOST:PORT or https://HOST:PORT")
    return host.rstrip("/")


def _shape(found: argparse.Namespace) -> Shape:
    ranged = found.range or found.range_size > 0
    workload = found.verb or found.workload or ("range" if ranged else "get")
    if ranged and workload != "range":
        raise ValueError(f"--range does not go with the workload {workload!r}")
    if found.discard and found.engine != "raw":
        raise ValueError("--discard goes with --engine raw only; other clients always copy what they read")
    return Shape(
        engine=found.engine,
        workload=workload,
        prefix=found.prefix,
        object_bytes=found.obj_size,
        objects=found.objects,
        range_bytes=found.range_size,
        concurrent=found.concurrent,
        processes=found.processes,
        duration_s=found.duration,
        discard=found.discard,
    )


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def _explained(parse: Callable[[str], _Value], text: str) -> _Value:
    """What ``parse`` makes of an argument; its ValueError becomes the line that argparse prints."""
    try:
        return parse(text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from fault


def _size(text: str) -> int:
    return _explained(parse_bytes, text)


def _duration(text: str) -> float:
    return _explained(parse_duration, text)


def _rate(text: str) -> float:
    rate = _explained(parse_rate, text)
    if not rate > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no target; it must be more than nothing")
    return rate


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no count; write a whole number from 1 up")
    return int(text)


def _pids(text: str) -> tuple[int, ...]:
    return tuple(_count(word) for word in text.split(","))


class _Parser(argparse.ArgumentParser):
    """Complains in one line, without the page of usage before it."""

    @override
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="forebay bench",
        description="Load an S3 endpoint and measure it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("verb", nargs="?", choices=sorted(WORKLOADS), help="the workload, as warp names it")
    _add_door(parser)
    _add_shape(parser)
    _add_report(parser)
    return parser


def _add_door(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("endpoint").add_argument
    add("--host", "--endpoint", metavar="HOST:PORT|URL", help="one or several, by comma (default: 127.0.0.1:9000)")
    add("--access-key", metavar="KEY")
    add("--secret-key", metavar="KEY")
    add("--session-token", metavar="TOKEN")
    add("--region", help="signing region (default: us-east-1)")
    add("--bucket", default="forebay-bench", help="made if missing (default: %(default)s)")
    add("--lookup", choices=["path", "host"], default="path", help="how the bucket is named (default: %(default)s)")
    add("--tls", action="store_true", help="https for hosts given without a scheme")
    add("--insecure", action="store_true", help="do not check the certificate")


def _add_shape(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("load").add_argument
    shape = Shape()
    add("--workload", choices=sorted(WORKLOADS), help="whole objects or random ranges (default: get)")
    add("--engine", choices=sorted(ENGINES), default="raw", help="the client (default: %(default)s)")
    add("--obj.size", dest="obj_size", type=_size, default=shape.object_bytes, metavar="SIZE", help="default: 10MiB")
    add("--objects", type=_count, default=shape.objects, metavar="N", help="default: %(default)s")
    add("--prefix", default=shape.prefix, help="of the objects' keys (default: %(default)s)")
    add("--range", action="store_true", help="random ranges of random length: --workload range")
    add("--range-size", type=_size, default=0, metavar="SIZE", help="random ranges of this length")
    add("--concurrent", type=_count, default=shape.concurrent, metavar="N", help="connections (default: %(default)s)")
    add("--processes", type=_count, default=1, metavar="N", help="client processes (default: %(default)s)")
    add("--duration", type=_duration, default=shape.duration_s, metavar="TIME", help="default: 5m")
    add("--timeout", type=_duration, default=60.0, metavar="TIME", help="of one operation (default: 60s)")
    add("--seed", type=int, default=0, help="of the random choices (default: %(default)s)")
    add("--discard", action="store_true", help="raw: count body bytes in the kernel, copy none (a cheaper client)")
    add("--noprepare", action="store_true", help="the objects are there already; upload and remove nothing")
    add("--noclear", action="store_true", help="keep what was uploaded (default: remove it, and only it)")


def _add_report(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("report").add_argument
    add("--gpus", type=_count, default=1, metavar="N", help="GPUs that the load stands for (default: %(default)s)")
    add("--target", type=_rate, default=7e9, metavar="RATE", help="per GPU (default: 7GB/s)")
    add("--json", metavar="FILE", help="write the result, with the machine's facts")
    add("--png", metavar="FILE", help="draw throughput over time")
    add("--html", metavar="FILE", help="write a report that needs no other file")
    add("--server-pid", type=_pids, default=(), metavar="PID,…", help="the server's processes here: cost per request")
    add("--quiet", action="store_true", help="no progress bar")
