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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NoReturn, TypeVar

import msgspec
from typing_extensions import override

from bench.engines import ENGINES, WHOLE_ONLY
from bench.plan import Door, LoadPlan, Mix, Shape
from bench.workloads import WORKLOADS
from gateway.quantities import parse_bytes, parse_rate

_Value = TypeVar("_Value")
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)
_SEVERAL: Final = re.compile(r"\{(\d{1,6})\.\.\.(\d{1,6})\}", re.ASCII)
_EPILOG: Final = """\
example:
  forebay bench --host 127.0.0.1:9000 --bucket bench --obj.size 8MiB --objects 64 \\
                --duration 30s --gpus 8 --target 7GB/s --json run.json --png run.png

beside a run (each has its own --help):
  forebay bench compare A.json B.json   two results, with a verdict where the spread allows one
  forebay bench peers                   Forebay beside nginx, Varnish, rclone and the upstream
  forebay bench lines                   all that Forebay's speed is held to, met or unmet
  forebay bench cost LINES.json --gpus N  cores and nodes for N GPUs

workloads:
"""
_SHAPE_DEFAULTS: Final[Mapping[str, int]] = MappingProxyType(
    {name: getattr(Shape(), name) for name in ("object_bytes", "objects", "range_bytes", "concurrent")}
)


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


def parse_warmup(text: str) -> float:
    """As :func:`parse_duration`, but it may be nothing: ``0``, ``0s``. Raises ValueError."""
    return 0.0 if re.fullmatch(r"0(ms|s|m|h)?", text, re.ASCII) else parse_duration(text)


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
        endpoints=tuple(_endpoint(host, tls=found.tls) for host in _hosts(hosts)),
        bucket=found.bucket,
        access_key=found.access_key or _first(environ, "WARP_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
        secret_key=found.secret_key or _first(environ, "WARP_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"),
        session_token=found.session_token or _first(environ, "AWS_SESSION_TOKEN"),
        region=found.region or _first(environ, "WARP_REGION", "AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1",
        lookup=found.lookup,
        insecure=found.insecure,
    )


def _hosts(text: str) -> Iterator[str]:
    """Hosts by comma; ``{1...8}`` in one stands for each of these numbers, as warp has it."""
    for host in filter(None, map(str.strip, text.split(","))):
        several = _SEVERAL.search(host)
        if several is None:
            yield host
            continue
        before, after = host[: several.start()], host[several.end() :]
        for number in range(int(several[1]), int(several[2]) + 1):
            yield from _hosts(f"{before}{number}{after}")


def _endpoint(host: str, *, tls: bool) -> str:
    if "://" not in host:
        return f"{'https' if tls else 'http'}://{host}"
    if not host.startswith(("http://", "https://")):
        raise ValueError(f"--endpoint {host}: write http://HOST:PORT or https://HOST:PORT")
    return host.rstrip("/")


def _shape(found: argparse.Namespace) -> Shape:
    name = found.verb or found.workload or ("range" if found.range or found.range_size else "get")
    workload = WORKLOADS[name]
    _check(found, name)
    value = {**_SHAPE_DEFAULTS, **workload.defaults, **_given(found)}
    rate, by_bytes = found.rate or (0.0, False)
    return Shape(
        engine=found.engine,
        workload=name,
        prefix=found.prefix,
        object_bytes=value["object_bytes"],
        objects=max(round(value["objects"] * found.scale), 1),
        range_bytes=value["range_bytes"],
        concurrent=value["concurrent"],
        processes=found.processes or 1,
        duration_s=found.duration,
        discard=found.discard,
        rate=rate,
        rate_by_bytes=by_bytes,
        mix=_mix(found),
        batch=found.batch,
        ray=found.ray,
        warmup_s=found.warmup,
    )


def _given(found: argparse.Namespace) -> dict[str, int]:
    names = {"object_bytes": "obj_size", "objects": "objects", "range_bytes": "range_size", "concurrent": "concurrent"}
    values = {field: getattr(found, name) for field, name in names.items()}
    return {field: value for field, value in values.items() if value}


def _mix(found: argparse.Namespace) -> Mix:
    given = {kind: getattr(found, f"{kind}_distrib") for kind in Mix.__struct_fields__}
    mix = msgspec.structs.replace(Mix(), **{kind: share for kind, share in given.items() if share is not None})
    if not any(msgspec.structs.astuple(mix)):
        raise ValueError("the shares of --get-distrib, --put-distrib … are all 0")
    return mix


def _check(found: argparse.Namespace, name: str) -> None:
    """What does not go together. Raises ValueError."""
    workload = WORKLOADS[name]
    mixes = any(getattr(found, f"{kind}_distrib") is not None for kind in Mix.__struct_fields__)
    rules = (
        (found.range and name != "range", f"--range does not go with the workload {name!r}"),
        (found.range_size and not workload.ranges, f"--range-size does not go with the workload {name!r}"),
        (mixes and name != "mixed", f"--…-distrib does not go with the workload {name!r}"),
        (
            found.discard and found.engine != "raw",
            "--discard goes with --engine raw only; other clients always copy what they read",
        ),
        (
            found.engine in WHOLE_ONLY and (found.range_size or not workload.whole),
            f"--engine {found.engine} reads whole objects; {_whole()} do so without --range-size",
        ),
        (
            found.rate and len(workload.phases) > 1,
            f"--rate does not go with the workload {name!r}: a burst has no rate",
        ),
        (
            found.warmup and len(workload.phases) > 1,
            f"--warmup does not go with the workload {name!r}: a burst that was cut short is none",
        ),
        (
            found.ray and not found.processes,
            "--ray needs --processes N: client processes in all, dealt out over the cluster's nodes in turn",
        ),
    )
    for broken, why in rules:
        if broken:
            raise ValueError(why)


def _whole() -> str:
    return ", ".join(name for name, each in WORKLOADS.items() if each.whole)


def parse_arrivals(text: str) -> tuple[float, bool]:
    """A rate of operations (``500``, ``500/s``) or of bytes (``2GB/s``): per second, and whether bytes are meant.

    Raises ValueError.
    """
    number = re.fullmatch(r"(\d+(?:\.\d+)?)(/s)?", text, re.ASCII)
    per_s = float(number[1]) if number else parse_rate(text)
    if not per_s > 0:
        raise ValueError(f"{text!r} is no rate; it must be more than nothing")
    return per_s, number is None


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


def _warmup(text: str) -> float:
    return _explained(parse_warmup, text)


def _rate(text: str) -> float:
    rate = _explained(parse_rate, text)
    if not rate > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no target; it must be more than nothing")
    return rate


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no count; write a whole number from 1 up")
    return int(text)


def _share(text: str) -> int:
    return 0 if text == "0" else _count(text)


def _scale(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) or not float(text) > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no scale; write a number such as 0.01")
    return float(text)


def _arrivals(text: str) -> tuple[float, bool]:
    return _explained(parse_arrivals, text)


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
        epilog=_EPILOG + "".join(f"  {name:<11} {each.summary}\n" for name, each in sorted(WORKLOADS.items())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("verb", nargs="?", choices=sorted(WORKLOADS), help="the workload, as warp names it")
    _add_door(parser)
    _add_shape(parser)
    _add_client(parser)
    _add_report(parser)
    return parser


def _add_door(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("endpoint").add_argument
    add("--host", "--endpoint", metavar="HOST:PORT|URL", help="one or several: a,b{1...8} (default: 127.0.0.1:9000)")
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
    add("--workload", choices=sorted(WORKLOADS), help="what clients do (default: get); see below")
    add("--obj.size", dest="obj_size", type=_size, metavar="SIZE", help="default: 10MiB, or the workload's")
    add("--objects", type=_count, metavar="N", help="default: 2500, or the workload's")
    add("--scale", type=_scale, default=1.0, metavar="X", help="so many times the objects: headline --scale 0.01")
    add("--prefix", default=Shape().prefix, help="of the objects' keys (default: %(default)s)")
    add("--range", action="store_true", help="random ranges of random length: --workload range")
    add("--range-size", "--part.size", dest="range_size", type=_size, metavar="SIZE", help="of a range, part or sample")
    for kind, share in msgspec.structs.asdict(Mix()).items():
        add(f"--{kind}-distrib", type=_share, metavar="N", help=f"mixed: the share of {kind}s (default: {share})")
    add("--rate", "--rps-limit", type=_arrivals, metavar="RATE", help="begin 500 operations/s (500) or bytes (2GB/s)")
    add("--concurrent", type=_count, metavar="N", help="connections (default: 20, or the workload's)")
    add("--duration", type=_duration, default=Shape().duration_s, metavar="TIME", help="default: 5m")
    add("--warmup", type=_warmup, default=0.0, metavar="TIME", help="load before that, not counted (default: 0s)")
    add("--timeout", type=_duration, default=60.0, metavar="TIME", help="of one operation (default: 60s)")
    add("--seed", type=int, default=0, help="of the random choices (default: %(default)s)")
    add("--noprepare", action="store_true", help="the objects are there already; upload and remove nothing")
    add("--noclear", action="store_true", help="keep what was uploaded (default: remove it, and only it)")


def _add_client(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("client").add_argument
    add("--engine", choices=sorted(ENGINES), default="raw", help="the client (default: %(default)s)")
    add("--processes", type=_count, metavar="N", help="client processes (default: 1)")
    add("--ray", default="", metavar="ADDRESS", help="client processes on the nodes of a Ray cluster: auto, HOST:PORT")
    add("--discard", action="store_true", help="raw: count body bytes in the kernel, copy none (a cheaper client)")
    add("--batch", type=_count, default=Shape().batch, metavar="N", help="torch: objects at a time (default: 32)")


def _add_report(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("report").add_argument
    add("--gpus", type=_count, default=1, metavar="N", help="GPUs that the load stands for (default: %(default)s)")
    add("--target", type=_rate, default=7e9, metavar="RATE", help="per GPU (default: 7GB/s)")
    add("--json", metavar="FILE", help="write the result, with the machine's facts")
    add("--png", metavar="FILE", help="draw throughput over time")
    add("--html", metavar="FILE", help="write a report that needs no other file")
    add("--server-pid", type=_pids, default=(), metavar="PID,…", help="the server's processes here: cost per request")
    add("--quiet", action="store_true", help="no progress bar")
