"""Facts of the machine that a figure was measured on; without them a figure means nothing.

Read from ``/proc`` and the platform; what cannot be read is said to be unknown, never guessed. A shell.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from bench.result import Machine

_LIBRARIES: Final = (
    "forebay",
    "aiohttp",
    "uvloop",
    "lmdb",
    "boto3",
    "botocore",
    "urllib3",
    "awscrt",
    "obstore",
    "torch",
    "ray",
)


def read_machine() -> Machine:
    """The facts of this machine and this installation."""
    return Machine(
        cpu=_field(Path("/proc/cpuinfo"), "model name") or platform.machine() or "unknown",
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        python=platform.python_version(),
        versions=dict(_versions()),
    )


def _versions() -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _field(path: Path, name: str) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
