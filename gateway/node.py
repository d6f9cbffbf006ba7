"""The composition root of a node: one process that keeps its workers, its disk, its books and its admin port.

The node process owns what there must be one of. It forks its first workers before anything else, while it is nothing
but imported code; they wait for their settings, which they get when the cache directory is prepared and the admin port
is there. It starts again (with back-off) a worker that ends, and runs eviction, recovery and scrub, the summing of the
meters, and health, metrics and status. It serves no client. SIGTERM drains the workers and ends with exit code 0; when
the node process is killed, the kernel ends its workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import structlog
import uvloop
from aiohttp import web
from pydantic import SecretStr

from cache.faults import DiskFault, PeerFault
from cache.members.leasefile import LeaseTable
from cache.members.leases import HeldLeases
from cache.members.static import StaticMembers
from cache.peers.client import PeersClient, Trust
from cache.policy.lru import Lru
from cache.policy.s3fifo import S3Fifo
from cache.store.directory_lock import lock_directory
from cache.store.environment import Environment, prepare
from cache.store.index import ChunkIndex
from cache.store.keeper import Keeper
from cache.views import Owner
from gateway.http.admin import AdminSources, build_admin
from gateway.identities import IdentitiesError, generate_identities, load_identities
from gateway.lives import Life, fork_each
from gateway.logs import set_up_logs
from gateway.meter.documents import Document
from gateway.meter.export import NodeFacts, NodeMeter
from gateway.settings import Settings
from gateway.supervisor import Supervisor
from gateway.worker import SystemClock, live, place_of, prepare_for

SAMPLE_EVERY_S: Final = 0.25
STATUS_EVERY_SAMPLES: Final = 4
STOP_MARGIN_S: Final = 5.0
PREDECESSOR_S: Final = 3.0
KEEPER_WAIT_S: Final = 2.0
FIRST_CLIENTS_S: Final = 0.25


def run_node(settings: Settings) -> int:
    """Run the node until SIGTERM or SIGINT; its exit code. What keeps it from starting is one line on stderr."""
    set_up_logs(settings.server.log_level, node=settings.cluster.node_id)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever started us may have ignored it, and with it how ours end
    workers: list[Life] = []
    try:
        workers = _fork_workers(settings)
        lock = lock_directory(Path(settings.cache.directory))
        node = Node(*_prepared(settings), workers)
    except (OSError, DiskFault, IdentitiesError) as error:
        sys.stderr.write(f"forebay: cannot start: {error}\n")
        _end(workers)
        return 1
    try:
        return uvloop.run(node.run())
    finally:
        _end(workers)
        lock.close()


def _fork_workers(settings: Settings) -> list[Life]:
    """The first life of each worker; it waits for its settings. Raises OSError.

    Of what is imported only OpenBLAS has threads, and it ends them at a fork by itself.
    """
    prepare_for(settings)
    gc.freeze()  # no collection here or there touches, and so copies, the pages that all of them share
    return fork_each([partial(live, number) for number in range(settings.node.workers)])


def _end(workers: Sequence[Life]) -> None:
    for worker in workers:
        worker.end()


def _prepared(settings: Settings) -> tuple[Settings, Environment]:
    """The settings with what only a start can tell: the quota in force, the identities, a secret for a lone node.

    And the environment of the prepared cache directory. Raises OSError, DiskFault, IdentitiesError.
    """
    server, cluster = settings.server, settings.cluster
    _expect_free(server.host, server.port)
    for worker in range(settings.node.workers):
        _expect_free(cluster.peer_host, settings.node.peer_port + worker)
    directory = Path(settings.cache.directory)
    environment = prepare(directory)
    free = shutil.disk_usage(directory).free
    quota = settings.quota_bytes(free_bytes=free, cached_bytes=ChunkIndex(environment).used())
    _ensure_identities(settings)
    if not cluster.secret.get_secret_value():
        cluster = cluster.model_copy(update={"secret": SecretStr(secrets.token_urlsafe(32))})
    cache = settings.cache.model_copy(update={"quota": quota})
    return settings.model_copy(update={"cluster": cluster, "cache": cache}), environment


def _expect_free(host: str, port: int) -> None:
    """Raises OSError that names the port when somebody listens there: workers would only try again for ever.

    The workers of a node that was killed a moment ago get the time to end.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline = time.monotonic() + PREDECESSOR_S
    while True:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise OSError(error.errno, f"{host}:{port}: {error.strerror}") from error
            else:
                return
        time.sleep(0.05)


def _ensure_identities(settings: Settings) -> None:
    path = settings.identities.file
    with contextlib.suppress(FileExistsError):
        if not os.path.exists(path) and settings.server.auth == "sigv4":
            identity = generate_identities(path)
            key = identity.access_key
            sys.stderr.write(f"forebay: generated identities in {path}: access key {key}, the secret is in the file\n")
    if os.path.exists(path):
        load_identities(path)


class Node:
    """The node process; ``settings`` and ``environment`` are prepared, ``workers`` wait for their settings.

    Raises OSError, DiskFault.
    """

    def __init__(self, settings: Settings, environment: Environment, workers: Sequence[Life]) -> None:
        self._settings = settings
        place = place_of(settings, 0)
        self._run_dir = place.run_dir
        facts = NodeFacts(
            version=version("forebay"),
            space=lambda: (self._used(), settings.cache.quota),
            members=lambda: [node.id for node in settings.view.nodes],
        )
        self._meter = NodeMeter(str(self._run_dir), settings.cluster.node_id, facts)
        policy = S3Fifo(settings.cache.quota) if settings.cache.policy == "s3fifo" else Lru()
        self._keeper = Keeper(
            environment,
            policy,
            self._meter.tally,
            quota_bytes=settings.cache.quota,
            chunk_bytes=settings.cache.chunk_size,
        )
        self._remove_leases_but(place.leases)
        self._serving = self._run_dir / "serving"
        self._status, self._new_status = self._run_dir / "status.json", self._run_dir / "status.json.new"
        self._table = LeaseTable(str(place.leases), lease_s=settings.cluster.lease_s, clock=SystemClock())
        self._supervisor = Supervisor(
            [["-m", "gateway.worker", str(number)] for number in range(settings.node.workers)],
            settings.to_json().encode(),
            grace_s=settings.server.drain_s + STOP_MARGIN_S,
            crashed=self._mourn,
            first=workers,
        )
        self._lag_s = 0.0

    def _mourn(self) -> None:
        """A worker (or this node) was killed, perhaps between a write and the telling of it.

        Its leftovers go, and nobody trusts what he knows: at once, and a lease later for a write that was on its way.
        """
        self._keeper.recovery.clear_filling()
        self._distrust()
        asyncio.get_running_loop().call_later(self._settings.cluster.lease_s, self._distrust)

    def _distrust(self) -> None:
        """Entries are asked about again, here and (with a new standing) on every other member."""
        self._keeper.catalog.distrust()
        self._table.renew_standings()

    def _remove_leases_but(self, mine: Path) -> None:
        """The grants files of other boots, whose clock has ended, go. Raises OSError."""
        for other in self._run_dir.glob("leases.*"):
            if other != mine:
                other.unlink()

    async def run(self) -> int:
        """Keep the node until it is told to stop; the exit code."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if self._serving.exists():  # the last run was killed
            self._mourn()
        self._serving.touch()
        peers = self._build_peers()
        admin = web.AppRunner(build_admin(self._sources(peers)), access_log=None)
        await admin.setup()
        try:
            server = self._settings.server
            await web.TCPSite(admin, server.admin_host, server.admin_port).start()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._supervisor.run(stop))
                tasks.create_task(self._keep(stop))
                endless = [tasks.create_task(self._sample()), tasks.create_task(self._tell_ready())]
                await stop.wait()
                for task in endless:
                    task.cancel()
        except OSError as error:
            sys.stderr.write(f"forebay: cannot start: {error}\n")
            return 1
        finally:
            await admin.cleanup()
            await peers.close()
            self._meter.close()
        self._serving.unlink(missing_ok=True)
        return 0

    async def _keep(self, stop: asyncio.Event) -> None:
        """Keep the store, once the workers serve: what is read at first would hold up them and their first clients.

        So it is where cores are few. The wait is short: workers that are ready need room while another one is not.
        """
        signs = [asyncio.create_task(self._supervisor.ready()), asyncio.create_task(stop.wait())]
        try:
            await asyncio.wait(signs, timeout=KEEPER_WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for sign in signs:
                sign.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), FIRST_CLIENTS_S)
        await self._keeper.run(stop)

    async def _tell_ready(self) -> None:
        await self._supervisor.ready()
        server = self._settings.server
        structlog.get_logger().info(
            "serving",
            endpoint=f"http://{server.host}:{server.port}",
            admin=f"http://{server.admin_host}:{server.admin_port}",
            workers=self._settings.node.workers,
        )

    def _build_peers(self) -> PeersClient:
        """Asks other nodes for their status; it keeps no leases (the workers do)."""
        cluster, clock = self._settings.cluster, SystemClock()
        return PeersClient(
            me=Owner(cluster.node_id, 0),
            members=StaticMembers(self._settings.view.nodes),
            secret=cluster.secret.get_secret_value().encode(),
            trust=Trust(self._table, HeldLeases(), lambda: None, lease_s=cluster.lease_s),
            find=lambda _: None,
            clock=clock,
            tally=self._meter.tally,
        )

    def _sources(self, peers: PeersClient) -> AdminSources:
        return AdminSources(
            status=self._meter.status,
            metrics=self._meter.metrics,
            others=lambda: self._others(peers),
            reasons_not_ready=self._supervisor.not_ready,
            lag_s=lambda: self._lag_s,
        )

    async def _others(self, peers: PeersClient) -> list[Document]:
        """The other nodes' documents; an error in the place of one that does not answer."""
        others = [node.id for node in self._settings.view.nodes if node.id != self._settings.cluster.node_id]

        async def ask(node_id: str) -> Document:
            try:
                document: Document = json.loads(await peers.status(node_id))
            except (PeerFault, ValueError) as error:
                return {"node": node_id, "error": str(error)}
            return document or {"node": node_id, "error": "it has no status yet"}

        return list(await asyncio.gather(*(ask(node_id) for node_id in others)))

    def _used(self) -> int:
        try:
            return self._keeper.used_bytes()
        except DiskFault:
            return 0

    async def _sample(self) -> None:
        """Sum the meters four times a second, without end; leave the status where workers find it, for other nodes."""
        loop = asyncio.get_running_loop()
        count = 0
        while True:
            due = loop.time() + SAMPLE_EVERY_S
            await asyncio.sleep(SAMPLE_EVERY_S)  # a wait for the stop, with a timeout, would cost twice as much
            self._lag_s = max(0.0, loop.time() - due)
            self._meter.sample()
            count += 1
            if count % STATUS_EVERY_SAMPLES == 0:
                self._write_status()

    def _write_status(self) -> None:
        try:
            self._new_status.write_bytes(msgspec.json.encode(self._meter.status()))
            self._new_status.rename(self._status)
        except OSError as error:
            structlog.get_logger().warning("status not written", why=str(error))
