"""What the demo shows: bars while it works, a table at the end, and what to try next.

On a terminal bars are drawn by rich; elsewhere each stage is one line, so that a log reads well. The table is one row
per pass. Nothing here measures or judges.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from bench.demo_cluster import BUCKET, DemoNode, Load
from bench.demo_counts import Pass
from gateway.quantities import render_bytes, render_rate


@contextmanager
def stage(console: Console, name: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """A bar over ``total_bytes``; call it with bytes done. Afterwards one line says how long it took."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    began_s = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(name, total=total_bytes)
        yield lambda done: progress.advance(task, done)
    console.print(f"{name}: {render_bytes(total_bytes)} in {time.monotonic() - began_s:.1f} s", highlight=False)


def passes_table(passes: Sequence[Pass], nodes: int, load: Load) -> Table:
    """One row per pass."""
    gpus = load.gpus * nodes
    title = f"{nodes} nodes, {gpus} GPUs in name, target {render_rate(load.target)} per GPU"
    table = Table(title=title, title_justify="left")
    table.add_column("pass")
    table.add_column("read with")
    names = ("objects", "data", "seconds", "GB/s", "requests/s", "local", "peer", "bucket", "hit ratio")
    for name in (*names, "bucket GETs", "HEADs", "GB/s per GPU", "of target"):
        table.add_column(name, justify="right")
    for each in passes:
        table.add_row(*_row(each, gpus, load))
    return table


def _row(each: Pass, gpus: int, load: Load) -> list[str]:
    counts = each.counts
    served = counts.served_bytes or 1
    sources = (counts.local_bytes, counts.peer_bytes, counts.upstream_bytes)
    per_gpu = each.bytes_per_s / gpus
    return [
        each.name,
        each.client,
        f"{each.objects:,}",
        render_bytes(each.received_bytes),
        f"{each.seconds:.2f}",
        f"{each.bytes_per_s / 1e9:.3f}",
        f"{each.requests_per_s:,.0f}",
        *(f"{count / served:.0%}" for count in sources),
        f"{counts.chunk_hit_ratio:.3f}",
        f"{counts.upstream_gets:,}",
        f"{counts.upstream_heads:,}",
        f"{per_gpu / 1e9:.3f}",
        f"{per_gpu / load.target:.1%}",
    ]


def try_next(nodes: Sequence[DemoNode]) -> str:
    """Lines to paste into another shell, with the keys of this run (they open these servers on loopback only)."""
    node = nodes[0]
    return f"""\
The cluster runs until Ctrl-C. In another shell:

  export AWS_ENDPOINT_URL={node.endpoint} AWS_DEFAULT_REGION=us-east-1
  export AWS_ACCESS_KEY_ID={node.keys.access_key} AWS_SECRET_ACCESS_KEY={node.keys.secret_key}
  aws s3 ls s3://{BUCKET}/objects/
  python -c 'import boto3; print(boto3.client("s3").list_objects_v2(Bucket="{BUCKET}", MaxKeys=3)["Contents"])'
  python -c 'import fsspec; print(fsspec.filesystem("forebay").ls("{BUCKET}/shards", detail=False))'
  forebay status --admin {node.admin} --cluster
  curl -s {node.admin}/metrics
"""
