"""CPU time that a server's processes have used: the root process and all its descendants, as the kernel counts it.

Each process is read from its CPU-time clock (``clock_getcpuclockid(3)``: nanoseconds, all threads, ended ones too); the
share of it spent in user mode comes from ``/proc/PID/stat`` (proc(5), in ticks of 10 ms). The kernel charges work on
a loopback connection, the other side's half of TCP included, to whoever made the call that caused it; it does so to
every server alike.

Only differences mean something: take :func:`read_cpu` before and after, and subtract. A process that appears in
between counts from its start; one that has ended is lost, so a difference is taken over processes that stay. A run's
clients do end before it is over: :class:`ClientCpu` reads what the kernel keeps of children waited for. A shell.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing import active_children
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_CLOCK_OF_PROCESS: Final = 2


@dataclass(frozen=True, slots=True)
class CpuTime:
    """CPU seconds by process. ``total_s`` and ``user_s`` are their sums; the rest of the total is system time."""

    by_process: dict[int, tuple[float, float]]

    @property
    def total_s(self) -> float:
        """User and system time."""
        return sum(total for total, _ in self.by_process.values())

    @property
    def user_s(self) -> float:
        """User time, to a tick."""
        return sum(user for _, user in self.by_process.values())

    def since(self, before: CpuTime) -> CpuTime:
        """What was used after ``before`` by the processes that are here now."""
        none = (0.0, 0.0)
        return CpuTime(
            {
                pid: (total - before.by_process.get(pid, none)[0], user - before.by_process.get(pid, none)[1])
                for pid, (total, user) in self.by_process.items()
            }
        )


def read_cpu(root: int) -> CpuTime:
    """CPU time so far of process ``root`` and its descendants. Raises ProcessLookupError where root has ended."""
    times = {pid: used for pid in process_tree(root) if (used := _used(pid)) is not None}
    if root not in times:
        raise ProcessLookupError(f"no process {root}")
    return CpuTime(times)


def read_cpu_of(roots: Iterable[int]) -> CpuTime:
    """As :func:`read_cpu`, of several processes and all their descendants. Raises ProcessLookupError."""
    return CpuTime({pid: used for root in roots for pid, used in read_cpu(root).by_process.items()})


class ClientCpu:
    """CPU time of this process's ``multiprocessing`` children from :meth:`begin` on; asked when they have ended."""

    __slots__ = ("_before_s",)

    def __init__(self) -> None:
        self._before_s = 0.0

    def begin(self) -> None:
        """What the children used so far (their start, their imports) does not count."""
        running = (used for child in active_children() if child.pid and (used := _used(child.pid)) is not None)
        self._before_s = _ended_s() + sum(total for total, _ in running)

    def used_s(self) -> float:
        """CPU seconds since; the children have been joined."""
        return max(_ended_s() - self._before_s, 0.0)


def _ended_s() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def process_tree(root: int) -> list[int]:
    """``root`` and its descendants, parents first."""
    found = [root]
    for pid in found:  # grows while it is walked
        found.extend(_children(pid))
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children.extend(int(word) for word in task.read_text(encoding="ascii").split())
        except OSError:
            continue  # the thread ended while we looked
    return children


def _used(pid: int) -> tuple[float, float] | None:
    try:
        total = time.clock_gettime(~pid << 3 | _CLOCK_OF_PROCESS)
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return total, int(fields[11]) / _TICKS_PER_S
