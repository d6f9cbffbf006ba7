"""The HTML report of a run: everything that the JSON holds and a person wants, in one file.

In this order: what each GPU gets and whether that is the target; throughput over time; how long requests took; what a
request cost the server; errors; on which machine, and the command that repeats the run. Figures are the JSON's own: the
report computes nothing but shapes. Sans-IO; ``bench/command.py`` writes the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bench.recorder import Durations
from bench.report import page, svg
from bench.report.charts import Frame, draw_latencies, draw_percentiles, draw_throughput
from bench.report.scale import render_ms, render_number
from bench.report.table import describe_shape
from bench.result import KindResult, Latency, Machine, Result
from gateway.quantities import render_bytes, render_rate

_LATENCY_HEAD: Final = ("", "mean", "p50", "p90", "p99", "p99.9", "max")


def render_html(result: Result) -> str:
    """The whole page."""
    return page.render_page(f"{_verdict(result)} · forebay bench", _parts(result))


def machine_table(machine: Machine) -> str:
    """The machine's facts, as a table."""
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    rows = [
        ("processor", f"{machine.cpu}, {machine.cores} cores"),
        ("memory", render_bytes(machine.memory_bytes)),
        ("system", f"Linux {machine.kernel}, Python {machine.python}"),
        ("versions", versions),
    ]
    return page.facts(rows)


def _parts(result: Result) -> Iterator[str]:
    yield page.headline(_verdict(result), describe_shape(result), f"{', '.join(result.endpoints)} / {result.bucket}")
    yield page.cards(_cards(result))
    yield from _failures(result)
    yield page.heading("GB/s per GPU")
    yield page.figures((_draw_share(result), _share_words(result)))
    yield page.heading("Throughput over time")
    yield page.figures((draw_throughput(result), _steps_words(result)))
    yield page.heading("Latency")
    yield from _latency(result)
    yield from _kinds(result)
    yield page.heading("Cost per request")
    yield from _cost(result)
    yield page.heading("Machine")
    yield machine_table(result.machine)
    if result.command:
        yield page.heading("To repeat it")
        yield page.command(result.command)
        yield page.paragraph("Keys come from the environment (WARP_ACCESS_KEY, WARP_SECRET_KEY).", "faint small")
    yield f"<footer>forebay bench, {result.started}. GB is 10⁹ bytes; percentiles are exact to 0.8 %.</footer>"


def _verdict(result: Result) -> str:
    each = result.per_gpu
    return (
        f"{render_rate(each.gb_per_s * 1e9)} per GPU, {_percent(each.target_share)} of the "
        f"{render_rate(each.target_gb_per_s * 1e9)} target"
    )


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"


def _cards(result: Result) -> list[tuple[str, str]]:
    gpus = "1 GPU" if result.per_gpu.gpus == 1 else f"{result.per_gpu.gpus} GPUs"
    made = [
        (render_rate(result.rates.gb_per_s * 1e9), f"in all, for {gpus}"),
        (f"{result.rates.requests_per_s:,.0f}", "requests per second"),
        (render_ms(result.latency.p50_ms), "median latency"),
        (render_ms(result.latency.p99_ms), "99 % stay within"),
    ]
    if result.cost is not None:
        made.append((f"{render_number(result.cost.us_per_request)} µs", "server CPU per request"))
    made.append((f"{result.failed:,}", f"errors, beside {result.requests:,} requests"))
    return made


def _failures(result: Result) -> Iterator[str]:
    if result.unsent:
        words = (
            f"{result.unsent:,} operations were due in the window and never began: the rate was too high for this load."
        )
        yield page.paragraph(words, "bad")
    if result.failed:
        yield page.heading("Errors")
        yield page.table(("code", "count"), [(code, f"{count:,}") for code, count in result.errors.items()])


def _draw_share(result: Result) -> str:
    """What each GPU gets beside its target, on one scale from zero."""
    each = result.per_gpu
    frame = Frame(960, 64, left=8, right=8)
    largest = max(each.target_gb_per_s, each.gb_per_s) or 1.0
    full = (frame.width - frame.left - frame.right) * 0.86
    got, wanted = each.gb_per_s / largest * full, each.target_gb_per_s / largest * full
    marks = [
        svg.rectangle((frame.left, 26), wanted, 26, "rail", title="target"),
        svg.rectangle((frame.left, 26), got, 26, "bar", title="measured"),
        svg.line((frame.left + wanted, 6), (frame.left + wanted, 60), "target"),
        svg.text((frame.left + wanted + 6, 16), f"{render_rate(each.target_gb_per_s * 1e9)} target", "target-label"),
        svg.text((frame.left, 16), f"{render_rate(each.gb_per_s * 1e9)} per GPU"),
    ]
    return svg.drawing(frame.width, frame.height, marks, label="GB/s per GPU beside the target")


def _share_words(result: Result) -> str:
    each = result.per_gpu
    total = render_rate(result.rates.gb_per_s * 1e9)
    return f"{total} divided by {each.gpus} GPU{'s' * (each.gpus > 1)}; the bar is to scale from zero."


def _steps_words(result: Result) -> str:
    return (
        "Bytes are credited evenly from a request's first byte to its last; intervals of "
        f"{result.rates.interval_s:.3g} s, averaged where there are more than fit. "
        f"Window: {render_number(result.rates.window_s)} s."
    )


def _latency(result: Result) -> Iterator[str]:
    curves = [("last byte", result.latency_buckets)]
    rows = [(_latency_name(result), result.latency)]
    if result.first_byte_buckets is not None:
        curves.append(("first byte", result.first_byte_buckets))
        rows.append(("first byte", result.first_byte))
    if result.service is not None and result.service_buckets is not None:
        curves.append(("service", result.service_buckets))
        rows.append(("service: from the sending", result.service))
    yield page.figures(*_charts(result, curves))
    yield page.table(_LATENCY_HEAD, [(name, *map(render_ms, _values(latency))) for name, latency in rows])


def _latency_name(result: Result) -> str:
    return "last byte" if result.service is None else "last byte, from the intended start"


def _kinds(result: Result) -> Iterator[str]:
    """A row for each kind of operation, where there are several."""
    if len(result.kinds) > 1:
        yield page.heading("By kind of operation")
        head = ("", "requests", "errors", "mean", "p50", "p90", "p99", "p99.9", "max")
        rows = [(name, f"{kind.requests:,}", f"{kind.failed:,}", *_texts(kind)) for name, kind in result.kinds.items()]
        yield page.table(head, rows)


def _texts(kind: KindResult) -> list[str]:
    return [render_ms(value) if kind.requests else "" for value in _values(kind.latency)]


def _charts(result: Result, curves: list[tuple[str, Durations]]) -> Iterator[tuple[str, str]]:
    yield (
        draw_latencies(result.latency_buckets, result.latency),
        "How often each latency to the last byte occurred (logarithmic axis).",
    )
    yield draw_percentiles(curves), "What each share of the requests stayed within; every further nine gets equal room."


def _values(latency: Latency) -> tuple[float, ...]:
    return latency.mean_ms, latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms


def _cost(result: Result) -> Iterator[str]:
    cost = result.cost
    if cost is None:
        yield page.paragraph(
            "Not measured: name the server's process with --server-pid where it runs on this machine.", "faint"
        )
        return
    system = max(cost.use.cpu_s - cost.use.user_s, 0.0)
    yield page.facts(
        [
            ("server CPU per request", f"{render_number(cost.us_per_request)} µs"),
            ("server CPU per GB", f"{render_number(cost.cpu_s_per_gb)} CPU seconds"),
            ("work per CPU second", f"{cost.requests_per_cpu_s:,.0f} requests, {render_number(cost.gb_per_cpu_s)} GB"),
            ("user and system", f"{render_number(cost.use.user_s)} s and {render_number(system)} s"),
            ("cores in use", f"{cost.busy:.2f} by the server, {cost.client_busy:.2f} by the clients"),
        ],
    )
