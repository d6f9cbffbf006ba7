"""Clients on the nodes of a Ray cluster: one actor per client process, dealt out over the living nodes in turn.

An actor has the same Client as a local process, gets the same plan and returns the same report; Ray only starts it
somewhere, carries documents, and says when it died. Every node needs this version of Forebay installed, and reaches
the endpoint by the address that the plan has; the plan travels with its keys, as private as the cluster's own traffic.
Actors reserve no cores: a load may run beside the job it stands for.

Monotonic clocks of two machines have nothing in common, so each actor's is compared with ours once, by asking it (good
to half a round trip); points in time are translated on the way there, reports on the way back. Needs ``forebay[ray]``.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import suppress
from typing import Any, Final

import msgspec

from bench.client import Begin, Client, Progress
from bench.crew import LoadFailed, OnProgress, together
from bench.plan import LoadPlan
from bench.recorder import LoadReport

START_S_MAX: Final = 120.0
_KNOCK_S: Final = 5.0
_LISTEN_S: Final = 0.5
_CALLS_AT_ONCE: Final = 3  # a phase, a question about it, and the word to stop


class RemoteClient:
    """The actor: a Client that is spoken to in documents. Its calls may overlap."""

    def __init__(self, document: bytes) -> None:
        self._progress = Progress(0, 0, 0)
        self._stop = threading.Event()
        self._refused = ""
        self._client: Client | None = None
        try:
            self._client = Client(msgspec.json.decode(document, type=LoadPlan))
        except ValueError as fault:
            self._refused = str(fault)

    def refused(self) -> str:
        """Why it cannot work; empty: it can."""
        return self._refused

    def node(self) -> str:
        """Ray's name of the node that it is on."""
        return str(_import_ray().get_runtime_context().get_node_id())

    def clock(self) -> float:
        """Its monotonic clock."""
        return time.monotonic()

    def work(self, document: bytes) -> bytes:
        """Do a phase; the LoadReport."""
        if self._client is None:
            raise RuntimeError(self._refused)
        report = self._client.work(msgspec.json.decode(document, type=Begin), self._heard)
        return msgspec.json.encode(report)

    def progress(self) -> bytes:
        """What was counted so far."""
        return msgspec.json.encode(self._progress)

    def stop(self) -> None:
        """Come to an end soon."""
        self._stop.set()

    def _heard(self, progress: Progress) -> bool:
        self._progress = progress
        return self._stop.is_set()


class RayCrew:
    """One actor per share of the plan; a Crew. Raises LoadFailed where Ray is missing or does not answer.

    ``nodes``: Ray's names of the nodes that the clients are on, once they are ready.
    """

    def __init__(self, plan: LoadPlan) -> None:
        self._ray = _import_ray()
        self.nodes: list[str] = []
        self._connected = False
        self._actors: list[Any] = []
        self._ahead_s: list[float] = []  # each actor's clock, less ours
        self._begin_s = 0.0
        self._waiting: dict[Any, int] = {}
        self._reports: dict[int, LoadReport] = {}
        try:
            self._connect(plan.shape.ray)
            self._actors.extend(self._hire(plan))
        except BaseException:
            self.close()
            raise

    def ready(self) -> None:
        """See Crew."""
        for refused in self._answers([actor.refused.remote() for actor in self._actors]):
            if refused:
                raise LoadFailed(refused)
        self.nodes = self._answers([actor.node.remote() for actor in self._actors])
        self._ahead_s = [self._compare_clocks(actor) for actor in self._actors]

    def begin(self, begin: Begin) -> None:
        """See Crew."""
        self._begin_s = begin.begin_s
        self._reports.clear()
        self._waiting = {}
        for index, (actor, ahead_s) in enumerate(zip(self._actors, self._ahead_s, strict=True)):
            theirs = msgspec.structs.replace(begin, begin_s=begin.begin_s + ahead_s, start_s=begin.start_s + ahead_s)
            self._waiting[actor.work.remote(msgspec.json.encode(theirs))] = index

    def gather(self, give_up_s: float, on_progress: OnProgress) -> list[LoadReport]:
        """See Crew."""
        while self._waiting:
            done, _ = self._ray.wait(list(self._waiting), num_returns=len(self._waiting), timeout=_LISTEN_S)
            for ref in done:
                document = self._answer(ref)
                report = msgspec.json.decode(document, type=LoadReport).rebased(self._begin_s)
                self._reports[self._waiting.pop(ref)] = report
            if self._waiting and time.monotonic() > give_up_s:
                raise LoadFailed("a client did not come to its end in time")
            on_progress(self._counted())
        return [self._reports[index] for index in sorted(self._reports)]

    def stop(self) -> None:
        """See Crew."""
        for actor in self._actors:
            actor.stop.remote()

    def close(self) -> None:
        """See Crew."""
        for actor in self._actors:
            with suppress(Exception):  # it may have died, and so may the cluster
                self._ray.kill(actor)
        self._actors.clear()
        if self._connected:
            self._connected = False
            self._ray.shutdown()

    def _connect(self, address: str) -> None:
        if self._ray.is_initialized():
            return  # whoever connected disconnects
        _knock(address)
        try:
            self._ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError, OSError) as fault:
            raise LoadFailed(f"--ray {address}: {str(fault).splitlines()[0]}") from fault
        self._connected = True

    def _hire(self, plan: LoadPlan) -> list[Any]:
        """The actors, dealt out over the nodes in turn."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415 - an extra

        nodes = sorted(node["NodeID"] for node in self._ray.nodes() if node["Alive"])
        if not nodes:
            raise LoadFailed("--ray: no node of the cluster is alive")
        remote = self._ray.remote(RemoteClient)
        return [
            remote.options(
                num_cpus=0,
                max_concurrency=_CALLS_AT_ONCE,
                scheduling_strategy=NodeAffinitySchedulingStrategy(nodes[index % len(nodes)], soft=False),
            ).remote(msgspec.json.encode(share))
            for index, share in enumerate(plan.shares())
        ]

    def _compare_clocks(self, actor: Any) -> float:  # noqa: ANN401 - Ray makes its handles' classes at run time
        asked_s = time.monotonic()
        clock_s = float(self._answer(actor.clock.remote()))
        return clock_s - (asked_s + time.monotonic()) / 2

    def _counted(self) -> Progress:
        said = self._answers([actor.progress.remote() for actor in self._actors])
        return together(msgspec.json.decode(each, type=Progress) for each in said)

    def _answers(self, refs: list[Any]) -> list[Any]:
        return [self._answer(ref) for ref in refs]

    def _answer(self, ref: Any) -> Any:  # noqa: ANN401 - what the actor's method returns
        try:
            return self._ray.get(ref, timeout=START_S_MAX)
        except self._ray.exceptions.RayError as fault:
            raise LoadFailed(f"a client on another node died: {_why(fault)}") from fault


def _knock(address: str) -> None:
    """Whether somebody listens there: Ray itself would take minutes to find that out. Raises LoadFailed."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # "auto" and such
    try:
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()
    except OSError as fault:
        raise LoadFailed(f"--ray {address}: {fault.strerror or fault}") from fault


def _why(fault: Exception) -> str:
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(fault).__name__


def _import_ray() -> Any:  # noqa: ANN401 - an extra without types of its own that we could name
    try:
        import ray  # noqa: PLC0415 - an extra, and slow to load
    except ImportError as fault:
        raise LoadFailed("--ray needs ray; install forebay[ray]") from fault
    return ray
