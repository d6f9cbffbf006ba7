"""``forebay bench compare A.json B.json …``: each run beside the first one.

Files joined by commas are repeated runs of the same thing (``before1.json,before2.json after1.json,after2.json``); four
on each side are the fewest that allow a verdict on every figure. Different workloads are refused, unless ``--anyway``.
Exit status: 0; 1 where a file is no result or the workloads differ; 2 for arguments that make no sense.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.compare import Side, compare, differences, doubts
from bench.report.versus import print_versus
from bench.result import Result, parse_json


def main(args: Sequence[str]) -> int:
    """Compare the files in ``args``; the exit status."""
    found = _parser().parse_args(args)
    console = Console(file=sys.stdout)
    complaints = Console(stderr=True, style="red", highlight=False, markup=False, soft_wrap=True)
    try:
        before, *others = (_side(word) for word in found.results)
    except (OSError, ValueError) as fault:
        complaints.print(f"forebay bench compare: {fault}")
        return 1
    for after in others:
        found_differences = differences(before, after)
        if found_differences and not found.anyway:
            complaints.print(f"forebay bench compare: {after.name} measured another workload (--anyway compares it):")
            complaints.print("\n".join(f"  {line}" for line in found_differences))
            return 1
        notes = [*(f"another workload: {line}" for line in found_differences), *doubts(before, after)]
        print_versus(console, before, after, compare(before, after), doubts=notes)
    return 0


def _side(word: str) -> Side:
    """The runs in the files of one argument. Raises OSError, ValueError."""
    paths = [Path(name) for name in word.split(",")]
    names = [path.stem for path in paths]
    name = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    return Side(name, tuple(_read(path) for path in paths))


def _read(path: Path) -> Result:
    try:
        return parse_json(path.read_bytes())
    except ValueError as fault:
        raise ValueError(f"{path} is no result of forebay bench: {fault}") from fault


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="forebay bench compare", description="Results beside the first of them.", allow_abbrev=False
    )
    parser.add_argument(
        "results",
        nargs="+",
        metavar="RESULT.json[,RESULT.json…]",
        help="--json files; the first is what the others are compared with",
    )
    parser.add_argument("--anyway", action="store_true", help="compare different workloads, too")
    return parser
