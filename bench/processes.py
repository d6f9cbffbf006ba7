"""Clients as processes of this machine.

Several, because one interpreter runs one thread of Python at a time: the load must not be bounded by that. They are
spawned, never forked, and owned here: when the crew is closed, each was ended and joined. A client that dies is an
error of the harness, not of the server.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

import msgspec

from bench.client import Begin, Finished, Progress, Ready, Refused, Said, Stop, Told, client_main
from bench.crew import LoadFailed, OnProgress, together
from bench.plan import LoadPlan
from bench.recorder import LoadReport

START_S_MAX: Final = 60.0
_GRACE_S: Final = 15.0


@dataclass(slots=True)
class _Client:
    process: BaseProcess
    pipe: Connection
    progress: Progress
    report: LoadReport | None = None


class ProcessCrew:
    """One process per share of the plan; a Crew."""

    def __init__(self, plan: LoadPlan) -> None:
        self._clients: list[_Client] = []
        try:
            for share in plan.shares():
                self._clients.append(_spawn(share))
        except BaseException:
            self.close()
            raise

    def ready(self) -> None:
        """See Crew."""
        for client in self._clients:
            if not client.pipe.poll(START_S_MAX):
                raise LoadFailed(f"a client did not start within {START_S_MAX:.0f} s")
            match _hear(client):
                case Ready():
                    continue
                case Refused(reason):
                    raise LoadFailed(reason)
                case Progress() | Finished():
                    raise LoadFailed("a client spoke out of turn")

    def begin(self, begin: Begin) -> None:
        """See Crew."""
        for client in self._clients:
            client.report = None
            _tell(client, begin)

    def gather(self, give_up_s: float, on_progress: OnProgress) -> list[LoadReport]:
        """See Crew."""
        while running := [client for client in self._clients if client.report is None]:
            _listen(running, give_up_s)
            on_progress(together(client.progress for client in self._clients))
        return [client.report for client in self._clients if client.report is not None]

    def stop(self) -> None:
        """See Crew."""
        for client in self._clients:
            with suppress(OSError):  # one that is dead is found out by whoever listens to it
                _tell(client, Stop())

    def close(self) -> None:
        """See Crew."""
        for client in self._clients:
            client.pipe.close()
        for client in self._clients:
            client.process.join(_GRACE_S)
            if client.process.is_alive():
                client.process.kill()
                client.process.join()
            client.process.close()
        self._clients.clear()


def _spawn(share: LoadPlan) -> _Client:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=client_main, args=(msgspec.json.encode(share), theirs), daemon=True)
    process.start()
    theirs.close()
    return _Client(process, ours, Progress(0, 0, 0))


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
        case Ready() | Refused():
            raise LoadFailed("a client spoke out of turn")


def _tell(client: _Client, told: Told) -> None:
    client.pipe.send_bytes(msgspec.json.encode(told))


def _hear(client: _Client) -> Said:
    try:
        document = client.pipe.recv_bytes()
    except (EOFError, ConnectionError) as fault:
        client.process.join(1)
        raise LoadFailed(f"a client process died (exit code {client.process.exitcode})") from fault
    said: Said = msgspec.json.decode(document, type=Said)
    return said
