"""The table says what the passes say; stages are one line each where there is no terminal."""

from __future__ import annotations

import io

from rich.console import Console

from bench.demo_cluster import Load, plan_nodes
from bench.demo_counts import Counts, Pass
from bench.demo_table import passes_table, stage, try_next


def test_one_row_per_pass() -> None:
    counts = Counts(local_bytes=1 << 29, peer_bytes=1 << 29, requests=100, chunk_hits=9, chunk_misses=1)
    done = Pass("warm", "boto3, objects", warm=True, objects=5, received_bytes=1 << 30, seconds=2.0, counts=counts)
    console = Console(file=io.StringIO(), width=170)
    console.print(passes_table([done], 3, Load(2, 7e9)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for cell in ("3 nodes, 6 GPUs", "7 GB/s", "1 GiB", "0.537", "50%", "0.900", "0.089", "1.3%"):
        assert cell in text


def test_a_stage_is_one_line_without_a_terminal() -> None:
    console = Console(file=io.StringIO(), width=100)
    with stage(console, "cold", 1 << 20) as tick:
        tick(100)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 1
    assert lines[0].startswith("cold: 1 MiB in ")


def test_what_to_try_next_names_the_first_node() -> None:
    nodes = plan_nodes(2, 1)
    text = try_next(nodes)
    assert nodes[0].endpoint in text
    assert f"forebay status --admin {nodes[0].admin} --cluster" in text
    assert nodes[0].keys.secret_key in text
