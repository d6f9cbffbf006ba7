"""A plan for N GPUs, for a terminal: nodes and cores, path by path, and every assumption."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table

from bench.cost import Need, PathCost, Plan
from bench.report.scale import render_number
from gateway.quantities import render_bytes, render_rate


def print_plan(console: Console, need: Need, costs: Mapping[str, PathCost], plan: Plan) -> None:
    """Print the plan, what it is made of, and what it takes for granted."""
    console.print(
        f"{need.gpus} GPUs at {render_rate(need.target)}, {need.gpus_per_node} per node, reads of "
        f"{render_bytes(need.request_bytes)}: {render_rate(need.gpus * need.target)} in all"
    )
    console.print(
        f"{plan.nodes} node{'s' * (plan.nodes > 1)}, each {render_number(plan.gb_per_s)} GB/s: "
        f"[bold]{render_number(plan.cores)} cores[/bold] ({plan.workers} workers), "
        f"{render_number(plan.cores * plan.nodes)} cores in all; "
        f"{render_number(plan.network_gb_per_s)} GB/s from the network into each node"
    )
    table = Table(title="one node", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("path", "GB/s", "CPU-s/GB", "µs/request", "cores", "measured"):
        table.add_column(name, justify="left" if name in ("path", "measured") else "right")
    for path in plan.paths:
        table.add_row(
            path.path,
            render_number(path.gb_per_s),
            render_number(path.cpu_s_per_gb),
            render_number(costs[path.path].per_request_s * 1e6),
            render_number(path.cores),
            f"{path.samples} samples" if path.samples else "assumed",
        )
    console.print(table)
    for line in plan.assumptions:
        console.print(f"assumed: {line}", style="dim", markup=False, soft_wrap=True)
