"""Runs a plan: starts its client processes, begins them together, gathers what they counted.

Several processes, because one interpreter runs one thread of Python at a time: the load must not be bounded by that.
They are spawned, never forked, and owned here: whatever happens, each is ended and joined before ``run_load`` returns.
Ctrl-C stops the run early and keeps what was measured; a second one gives up. A client that dies is an error of the
harness, not of the server: :class:`LoadFailed`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

import msgspec

from bench.client import Finished, Progress, Ready, Refused, Said, client_main
from bench.plan import LoadPlan
from bench.recorder import LoadReport, Recorder

START_S_MAX: Final = 60.0
_TOGETHER_S: Final = 0.02
_GRACE_S: Final = 15.0

OnProgress = Callable[[Progress], None]


class LoadFailed(Exception):
    """The load could not be made; one line for people."""


@dataclass(slots=True)
class _Client:
    process: BaseProcess
    pipe: Connection
    progress: Progress
    report: LoadReport | None = None


def run_load(
    plan: LoadPlan,
    on_progress: OnProgress = lambda _: None,
    *,
    on_begin: Callable[[], None] = lambda: None,
) -> LoadReport:
    """Run the plan to its end; what all clients counted together. ``on_begin``: just before the first request.

    Raises LoadFailed.
    """
    with _clients(plan) as clients:
        for client in clients:
            _await_ready(client)
        on_begin()
        begin_s = time.monotonic() + _TOGETHER_S
        for client in clients:
            client.pipe.send(begin_s)
        _gather(plan, clients, on_progress)
        return _total(plan, clients, begin_s)


@contextmanager
def _clients(plan: LoadPlan) -> Iterator[list[_Client]]:
    clients: list[_Client] = []
    try:
        clients.extend(_spawn(share) for share in plan.shares())
        yield clients
    finally:
        for client in clients:
            client.pipe.close()
        for client in clients:
            client.process.join(_GRACE_S)
            if client.process.is_alive():
                client.process.kill()
                client.process.join()
            client.process.close()


def _spawn(share: LoadPlan) -> _Client:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=client_main, args=(msgspec.json.encode(share), theirs), daemon=True)
    process.start()
    theirs.close()
    return _Client(process, ours, Progress(0, 0, 0))


def _await_ready(client: _Client) -> None:
    if not client.pipe.poll(START_S_MAX):
        raise LoadFailed(f"a client did not start within {START_S_MAX:.0f} s")
    match _hear(client):
        case Ready():
            return
        case Refused(reason):
            raise LoadFailed(reason)
        case Progress() | Finished():
            raise LoadFailed("a client spoke out of turn")


def _gather(plan: LoadPlan, clients: list[_Client], on_progress: OnProgress) -> None:
    give_up_s = time.monotonic() + plan.shape.duration_s + 2 * plan.timeout_s + _GRACE_S
    interrupted = False
    while running := [client for client in clients if client.report is None]:
        try:
            _listen(running, give_up_s)
            on_progress(_sum(clients))
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            for client in running:
                client.pipe.send("stop")


def _listen(running: list[_Client], give_up_s: float) -> None:
    ready = wait([client.pipe for client in running], max(give_up_s - time.monotonic(), 0))
    if not ready:
        raise LoadFailed("a client did not come to its end in time")
    for client in running:
        if client.pipe in ready:
            _take(client)


def _take(client: _Client) -> None:
    match _hear(client):
        case Progress() as progress:
            client.progress = progress
        case Finished(report):
            client.report = report
            client.progress = Progress(report.requests, report.bytes, sum(report.errors.values()))
        case Ready() | Refused():
            raise LoadFailed("a client spoke out of turn")


def _hear(client: _Client) -> Said:
    try:
        document = client.pipe.recv_bytes()
    except (EOFError, ConnectionError) as fault:
        client.process.join(1)
        raise LoadFailed(f"a client process died (exit code {client.process.exitcode})") from fault
    said: Said = msgspec.json.decode(document, type=Said)
    return said


def _sum(clients: list[_Client]) -> Progress:
    return Progress(
        requests=sum(client.progress.requests for client in clients),
        bytes=sum(client.progress.bytes for client in clients),
        failed=sum(client.progress.failed for client in clients),
    )


def _total(plan: LoadPlan, clients: list[_Client], begin_s: float) -> LoadReport:
    total = Recorder(begin_s, plan.shape.interval_s)
    for client in clients:
        if client.report is not None:
            total.merge(client.report)
    return total.report()
