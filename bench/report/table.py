"""The table of a run, for a terminal: what was asked, what came, how long it took, and whether the target is met."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bench.plan import Shape
from bench.result import Latency, Machine, Result
from gateway.quantities import render_bytes, render_rate


def print_result(console: Console, result: Result) -> None:
    """Print the result: a line of what was run, rates and errors, then latencies."""
    console.print(_asked(result), highlight=False)
    console.print(_rates(result))
    console.print(_latencies(result))
    if result.unsent:
        console.print(f"{result.unsent:,} operations were due and never began: the rate was too high", style="red")


def describe_shape(result: Result) -> str:
    """What was read, in one line: ``get, 64 objects of 8 MiB, raw, 20 connections in 1 process, 30 s``."""
    shape = result.shape
    what = f"{render_bytes(shape.range_bytes)} of " if shape.range_bytes else ""
    processes = f"{shape.processes} process{'es' if shape.processes > 1 else ''}"
    time = f"{result.rates.window_s:.3g} s{after_warmup(shape.warmup_s)}"
    return (
        f"{shape.workload}, {what}{shape.objects:,} objects of {render_bytes(shape.object_bytes)}, {shape.engine}, "
        f"{shape.concurrent} connections in {processes}, {_pace(shape)}{time}"
    )


def after_warmup(seconds: float) -> str:
    """What follows the length of a measurement; nothing where there was no warm-up."""
    return f" after {seconds:g} s of warm-up" if seconds else ""


def _pace(shape: Shape) -> str:
    """How fast operations begin in an open loop."""
    if not shape.rate:
        return ""
    return f"{render_rate(shape.rate)}, " if shape.rate_by_bytes else f"{shape.rate:,g} operations/s, "


def describe_machine(machine: Machine) -> str:
    """The machine in one line."""
    memory = render_bytes(machine.memory_bytes)
    return f"{machine.cpu}, {machine.cores} cores, {memory}, Linux {machine.kernel}, Python {machine.python}"


def _asked(result: Result) -> str:
    return (
        f"{', '.join(result.endpoints)} / {result.bucket}\n{describe_shape(result)}\n{describe_machine(result.machine)}"
    )


def _rates(result: Result) -> Table:
    table = Table(title="throughput", title_justify="left")
    each = result.per_gpu
    style = "green" if each.target_share >= 1 else "yellow"
    rows = [
        ("GB/s", f"{result.rates.gb_per_s:.3f}"),
        ("requests/s", f"{result.rates.requests_per_s:,.1f}"),
        (f"GB/s per GPU ({each.gpus})", f"{each.gb_per_s:.3f}"),
        (f"of the target, {each.target_gb_per_s:g} GB/s", f"[{style}]{each.target_share:.1%}"),
        ("requests", f"{result.requests:,}"),
        ("bytes", f"{result.bytes:,}"),
        ("errors", f"[red]{result.failed:,}" if result.failed else "0"),
        *((f"  {code}", f"{count:,}") for code, count in result.errors.items()),
        *_cost(result),
    ]
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in rows:
        table.add_row(name, value)
    table.show_header = False
    return table


def _cost(result: Result) -> list[tuple[str, str]]:
    if result.cost is None:
        return []
    return [
        ("server CPU per request, µs", f"{result.cost.us_per_request:,.1f}"),
        ("server CPU per GB, s", f"{result.cost.cpu_s_per_gb:.3f}"),
        ("cores: server, clients", f"{result.cost.busy:.2f}, {result.cost.client_busy:.2f}"),
    ]


def _latencies(result: Result) -> Table:
    table = Table(title="latency, ms", title_justify="left")
    for name in ("", "mean", "p50", "p90", "p99", "p99.9", "max"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("first byte", *_figures(result.first_byte))
    if result.service is not None:
        table.add_row("service", *_figures(result.service))
    table.add_row("last byte" if result.service is None else "from intended start", *_figures(result.latency))
    if len(result.kinds) > 1:
        table.add_section()
        for name, kind in result.kinds.items():
            table.add_row(f"{name}, {kind.requests:,}", *_figures(kind.latency))
    return table


def _figures(latency: Latency) -> list[str]:
    values = (latency.mean_ms, latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms)
    return [f"{value:,.3f}" if value < 100 else f"{value:,.0f}" for value in values]
