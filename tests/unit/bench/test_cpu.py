from __future__ import annotations

import os
import subprocess
import sys
import time
from multiprocessing import get_context

import pytest

from bench.cpu import ClientCpu, CpuTime, process_tree, read_cpu, read_cpu_of

_BURN = "import sys, time\nwhile time.process_time() < 0.2: pass\nprint('burnt', flush=True); sys.stdin.read()"
_PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {_BURN!r}], stdin=subprocess.PIPE)
sys.stdin.read()
child.communicate()
"""


def test_the_time_of_a_child_of_a_child_counts() -> None:
    command = [sys.executable, "-c", _PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"burnt\n"
        used = read_cpu(parent.pid)
        assert len(process_tree(parent.pid)) == 2
        assert used.total_s >= 0.2
        assert 0 <= used.user_s <= used.total_s + 0.1
        parent.communicate()


def test_this_process() -> None:
    before = read_cpu(os.getpid())
    sum(range(1_000_000))
    used = read_cpu(os.getpid()).since(before)
    assert used.total_s > 0


def test_only_the_difference_counts_and_a_new_process_from_its_start() -> None:
    before = CpuTime({1: (10.0, 4.0), 2: (5.0, 5.0)})
    used = CpuTime({1: (12.0, 5.0), 3: (0.5, 0.25)}).since(before)
    assert (used.total_s, used.user_s) == (2.5, 1.25)


def test_a_process_that_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    with pytest.raises(ProcessLookupError):
        read_cpu(gone.pid)


def test_several_processes_are_read_together() -> None:
    both = read_cpu_of([os.getpid()])
    assert os.getpid() in both.by_process
    assert read_cpu_of([]).total_s == 0


def _burn() -> None:
    deadline = time.process_time() + 0.1
    while time.process_time() < deadline:
        pass


def test_the_cpu_time_of_clients_outlives_them() -> None:
    meter = ClientCpu()
    meter.begin()
    child = get_context("spawn").Process(target=_burn)
    child.start()
    child.join()
    assert meter.used_s() >= 0.09
