from __future__ import annotations

import os
import platform

from bench.machine import read_machine


def test_the_facts_of_this_machine() -> None:
    machine = read_machine()
    assert machine.cpu
    assert machine.cores == len(os.sched_getaffinity(0))
    assert machine.memory_bytes > 1 << 26
    assert (machine.kernel, machine.python) == (platform.release(), platform.python_version())
    assert {"forebay", "boto3"} <= machine.versions.keys()
