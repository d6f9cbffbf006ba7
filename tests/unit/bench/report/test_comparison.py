from __future__ import annotations

import io
import json

import msgspec
import pytest
from rich.console import Console

from bench.lines.hits import judge_hits
from bench.report.comparison import draw_comparison, print_comparison, render_comparison
from bench.result import Latency, Machine
from bench.rounds import FORMAT, Case, Comparison, Sample, parse_json, render_json, summarise


def a_comparison(*, failed: int = 0) -> Comparison:
    latency = Latency(1, 1, 1, 2, 3, 4)
    samples = [
        Sample(name, Case(size), turn, work, work * size, failed, 2.0, 1.0, 0.5, 0.5, latency)
        for size in (4096, 1 << 20)
        for turn in range(3)
        for name, work in (("nginx", 40_000 + turn), ("forebay", 30_000))
    ]
    return Comparison(
        format=FORMAT,
        started="now",
        machine=Machine("a cpu", 2, 1 << 34, "6.1", "3.11", {}),
        server_cpus=(0,),
        client_cpus=(1,),
        engine="raw",
        concurrent=16,
        duration_s=2.0,
        rounds=3,
        reference="nginx",
        versions={"forebay": "0.1.0", "nginx": "1.22.1"},
        rows=summarise(samples, "nginx"),
        samples=samples,
    )


def printed(comparison: Comparison) -> str:
    out = io.StringIO()
    print_comparison(Console(file=out, width=80), comparison)
    return out.getvalue()


def test_a_row_for_each_server_and_size_fits_a_terminal() -> None:
    said = printed(a_comparison())
    (row, _) = [line for line in said.splitlines() if line.startswith("  forebay")]
    assert "30,000" in row
    assert "0.75 (0.75-0.75)" in row


def test_a_warm_up_is_said_and_kept() -> None:
    warmed = msgspec.structs.replace(a_comparison(), warmup_s=1.5)
    assert "rounds of 2 s after 1.5 s of warm-up" in " ".join(printed(warmed).split())
    assert "warm-up" not in printed(a_comparison())
    assert json.loads(render_json(warmed))["warmup_s"] == 1.5
    assert parse_json(render_json(warmed)) == warmed


def test_a_comparison_from_before_there_were_warm_ups_had_none() -> None:
    document = json.loads(render_json(a_comparison()))
    del document["warmup_s"]
    assert parse_json(json.dumps(document).encode()) == a_comparison()


def test_failures_spoil_the_figures() -> None:
    assert "do not count" in printed(a_comparison(failed=1))
    assert "do not count" not in printed(a_comparison())


def test_the_plot_the_page_and_the_document() -> None:
    comparison = a_comparison()
    image = draw_comparison(comparison)
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    page = render_comparison(comparison, judge_hits(comparison), image)
    assert "data:image/png;base64," in page
    assert "unmet" in page
    assert parse_json(render_json(comparison)) == comparison
    with pytest.raises(ValueError, match="format 1"):
        parse_json(render_json(msgspec.structs.replace(comparison, format=1)))
