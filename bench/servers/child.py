"""A server process of a comparison: started on given cores, awaited until it listens, ended with the context.

Its output goes to a file beside its data; where it does not come up, the last lines of that file are the error. Cores
are set in this process for the moment of the start and inherited, so that every thread and child has them from the
first instruction on. A shell.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

START_S_MAX: Final = 30.0
STOP_S_MAX: Final = 15.0
_POLL_S: Final = 0.05


class ServerFailed(Exception):
    """A server did not start; what it said, for people."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that is up: its name in tables, its URL, its root process."""

    name: str
    endpoint: str
    pid: int


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody had a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    *,
    port: int,
    log: Path,
    cpus: Sequence[int] = (),
    environ: Mapping[str, str] = {},
) -> Iterator[Listening]:
    """Run ``command`` until the context ends. Raises ServerFailed, with what it wrote, if it does not listen."""
    process = _start(command, log, cpus, environ)
    try:
        _await_port(name, process, port, log)
        yield Listening(name, f"http://127.0.0.1:{port}", process.pid)
    finally:
        _stop(process)


def _start(
    command: Sequence[str], log: Path, cpus: Sequence[int], environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    allowed = os.sched_getaffinity(0)
    try:
        if cpus:
            os.sched_setaffinity(0, cpus)
        with log.open("wb") as output:
            return subprocess.Popen(  # noqa: S603 - the commands are this package's own
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **environ}
            )
    except OSError as fault:
        raise ServerFailed(f"{command[0]}: {fault.strerror}") from fault
    finally:
        os.sched_setaffinity(0, allowed)


def _await_port(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up_s = time.monotonic() + START_S_MAX
    while time.monotonic() < give_up_s:
        if process.poll() is not None:
            raise ServerFailed(f"{name} ended at once (exit code {process.returncode}): {_tail(log)}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(_POLL_S)
        else:
            return
    raise ServerFailed(f"{name} does not listen after {START_S_MAX:.0f} s: {_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-1000:].strip() or "it said nothing"


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
