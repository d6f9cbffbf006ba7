"""The composition root of one data worker: adapters are built here, wired to the rules, served and shut down.

A worker is a process of its own, forked from its node process or run as ``python -m gateway.worker NUMBER``. Over its
line (see ``lives``) it gets its settings as JSON and, when it listens with SO_REUSEPORT on the clients' port and alone
on ``peer_port + number``, says that it is ready. SIGTERM drains: no new connections, running requests get ``drain_s``,
then the rest is aborted. When its node process dies the kernel ends it too, so that no worker is left without a keeper.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import resource
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
import uvloop
from setproctitle import setproctitle

from cache.cache import Cache
from cache.chunks import Chunk
from cache.faults import DiskFault
from cache.fills.driver import Fills
from cache.freshness import Freshness, FreshnessRule
from cache.lookups import Lookups
from cache.members.leasefile import LeaseTable
from cache.members.leases import HeldLeases
from cache.members.static import StaticMembers
from cache.peers.client import PeersClient, Trust
from cache.peers.server import PeerServer
from cache.policy.crossings import Crossings
from cache.ports import ChunkReader
from cache.ring import Ring
from cache.store.catalog import LmdbCatalog
from cache.store.environment import open_environment
from cache.store.files import FileStore
from cache.store.mapped import Tokens
from cache.tally import Count, Tally
from cache.versions import ByteSpan, Entry, ObjectRef
from cache.views import Owner
from cache.ways import Ports, Ways
from gateway.admission import Admission, Admitted
from gateway.exchange import Address
from gateway.forward import Forwarder, RequestBody
from gateway.http.app import GatewayServer
from gateway.http.service import Patience, Service
from gateway.identities import load_identities
from gateway.lean import lean_imports
from gateway.lives import Line, line_from_stdin
from gateway.logs import set_up_logs
from gateway.meter.counters import WorkerMeter
from gateway.reads import Reads
from gateway.s3.answers import Answer
from gateway.s3.sigv4 import Credentials
from gateway.settings import Settings
from gateway.upstream import Patience as UpstreamPatience
from gateway.upstream import Upstream, tls_of

SWEEP_EVERY_S: Final = 1.0
BACKLOG: Final = 4096
FILES_RESERVED: Final = 512
FILLS_DRAIN_S: Final = 1.0
COPIES_WINDOW_PARTS: Final = 2
ROWS_WAIT_S: Final = 0.002  # of the catalog: the answer to who asked goes out first
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker stands: its number, the node's run directory, and the grants file of this boot."""

    number: int
    run_dir: Path
    leases: Path


def place_of(settings: Settings, number: int) -> Place:
    """Where worker ``number`` of a node stands. Raises OSError."""
    run_dir = Path(settings.cache.directory) / "run"
    return Place(number, run_dir, run_dir / f"leases.{_BOOT_ID.read_text().strip()}")


class SystemClock:
    """The machine's monotonic clock."""

    def monotonic(self) -> float:
        """Seconds since boot, a suspended machine's sleep included: others' leases went on meanwhile."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class Host:
    """What this worker does for peers that ask; implements :class:`cache.ports.PeerHost`."""

    def __init__(self, lookups: Lookups, ways: Ways, cache: Cache, status: Path, lease_s: float) -> None:
        self._lookups = lookups
        self._ways = ways
        self._cache = cache
        self._status = status
        self._lease_s = lease_s

    async def look_up(self, ref: ObjectRef, *, checksums: bool, age_max_s: float) -> Entry:
        """What the key holds; its first chunk is here or on its way then."""
        return await self._lookups.look_up(ref, checksums=checksums, age_max_s=age_max_s)

    async def serve(self, chunk: Chunk, span: ByteSpan) -> ChunkReader:
        """The chunk from the store or from its one fill."""
        self._lookups.serving(chunk)
        return await self._ways.serve(chunk, span)

    def invalidate(self, refs: Sequence[ObjectRef]) -> None:
        """Forget what this node knew of these keys."""
        self._cache.forget(refs)

    def grant(self, node_id: str) -> float:  # noqa: ARG002 - the port's signature: all members are granted alike
        """How long a lease may hold; also while this worker drains, since it can still tell of its writes."""
        return self._lease_s

    def status(self) -> bytes:
        """The document that the node process wrote last."""
        with contextlib.suppress(OSError):
            return self._status.read_bytes()
        return b"{}"


class Worker:
    """One data worker, built from its settings; ``run`` serves until it is told to stop."""

    def __init__(self, settings: Settings, place: Place, upstream: Upstream, meter: WorkerMeter) -> None:
        self._settings = settings
        self._place = place
        self._meter = meter
        self._executor = ThreadPoolExecutor(8, "fill")
        self._clock = SystemClock()
        self._members = StaticMembers(settings.view.nodes)
        self._me = Owner(settings.node.id, place.number)
        self._store, self._catalog = self._build_store()
        self._leases = LeaseTable(str(place.leases), lease_s=settings.cluster.lease_s, clock=self._clock)
        self._fills = Fills(
            upstream,
            self._store,
            self._clock,
            tally=meter.tally,
            executor=self._executor,
            fills_max=settings.cache.fills_max,
        )
        self._peers = self._build_peers()
        self._lookups, self._ways, self._cache = self._build_cache(upstream)
        self._service = self._build_service(Forwarder(upstream, self._cache.invalidate))
        self._peer_server = PeerServer(
            Host(self._lookups, self._ways, self._cache, place.run_dir / "status.json", settings.cluster.lease_s),
            node_id=self._me.node_id,
            members=self._members,
            secret=self._secret,
            grants=self._leases,
            tally=meter.tally,
        )

    @property
    def _secret(self) -> bytes:
        return self._settings.cluster.secret.get_secret_value().encode()

    def _build_store(self) -> tuple[FileStore, LmdbCatalog]:
        cache, tally = self._settings.cache, self._meter.tally
        directory = Path(cache.directory)
        files_max = max(64, _spare_files() // 4)
        store = FileStore(
            directory,
            quota_bytes=cache.quota,
            tally=tally,
            verify=cache.verify,
            open_files_max=min(files_max, 8192),
            disk_rest_s=cache.disk_rest_s,
        )
        environment = open_environment(directory)
        loop, tokens = asyncio.get_running_loop(), Tokens(environment.places.tokens)
        return store, LmdbCatalog(environment, tokens, tally, later=lambda write: loop.call_later(ROWS_WAIT_S, write))

    def _build_peers(self) -> PeersClient:
        held = HeldLeases()
        trust = Trust(self._leases, held, self._catalog.distrust, lease_s=self._settings.cluster.lease_s)
        return PeersClient(
            me=self._me,
            members=self._members,
            secret=self._secret,
            trust=trust,
            find=self._store.find,
            clock=self._clock,
            tally=self._meter.tally,
        )

    def _build_cache(self, upstream: Upstream) -> tuple[Lookups, Ways, Cache]:
        cache = self._settings.cache
        ring = Ring(self._members.current())
        ports = Ports(upstream, self._store, self._catalog, self._fills, self._clock, self._meter.tally, self._peers)
        ways = Ways(ports, Crossings(cache.quota // COPIES_WINDOW_PARTS), me=self._me, owner_of=ring.owner)
        rules = [FreshnessRule(rule.bucket, rule.prefix, rule.mode, rule.ttl_s) for rule in self._settings.freshness]
        lookups = Lookups(
            ports, ways, Freshness(rules), chunk_bytes=cache.chunk_size, stale_if_error_s=cache.stale_if_error_s
        )
        built = Cache(ports, ways, lookups=lookups, chunk_bytes=cache.chunk_size, readahead_chunks=cache.readahead)
        return lookups, ways, built

    def _build_service(self, forwarder: Forwarder) -> Service:
        server = self._settings.server
        identities = load_identities(self._settings.identities.file)
        admission = Admission(identities, required=server.auth == "sigv4", target=self._settings.meter.target)

        def forward(admitted: Admitted, body: RequestBody | None) -> Awaitable[Answer]:
            return forwarder.forward(
                admitted.request, admitted.operation, admitted.auth, body, may=admitted.identity.may
            )

        return Service(
            admission=admission,
            reads=Reads(self._cache, lambda admitted: forward(admitted, None)),
            forward=forward,
            meter=self._meter,
            domains=server.domains,
            patience=Patience(head_s=server.header_timeout_s, idle_s=server.idle_timeout_s),
            connections_max=max(64, _spare_files() // 3),  # two descriptors each
            access_log=server.access_log,
        )

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve until ``stop`` is set, then drain. Raises OSError when a port cannot be had."""
        server, cluster = self._settings.server, self._settings.cluster
        loop = asyncio.get_running_loop()
        await self._peer_server.start(cluster.peer_host, self._settings.node.peer_port + self._place.number)
        self._peers.start()
        gateway = GatewayServer(self._service)
        listening = await loop.create_server(gateway, server.host, server.port, reuse_port=True, backlog=BACKLOG)
        sweeping = loop.create_task(self._sweep())
        ready()
        try:
            await stop.wait()
            listening.close()
            await self._drain(server.drain_s)
        finally:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)
            await gateway.shutdown(0.1)
            await self._cache.close()
            await self._peers.close()
            await self._peer_server.close()
            await self._fills.close()
            self._catalog.write()
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._store.close()

    async def _drain(self, drain_s: float) -> None:
        """No new requests on old connections; running ones get ``drain_s``, then chunks on their way a moment."""
        service = self._service
        service.draining = True
        deadline = time.monotonic() + drain_s
        while service.connections and time.monotonic() < deadline:
            for connection in [one for one in service.connections if one.at_rest()]:
                connection.force_close()
            await asyncio.sleep(0.02)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FILLS_DRAIN_S):
                await self._fills.settled()

    async def _sweep(self) -> None:
        """Once a second: cut overdue connections, let evicted files go, note the loop's lag."""
        tally, loop = self._meter.tally, asyncio.get_running_loop()
        while True:
            due = loop.time() + SWEEP_EVERY_S
            await asyncio.sleep(SWEEP_EVERY_S)
            tally.words[Count.LOOP_LAG_US_MAX] = int((loop.time() - due) * 1e6)
            now = time.monotonic()
            for connection in [one for one in self._service.connections if one.overdue(now)]:
                connection.force_close()
            self._store.sweep()


async def serve(settings: Settings, place: Place, ready: Callable[[], None]) -> None:
    """Build the worker, call ``ready`` when it listens, and serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    meter = WorkerMeter(str(place.run_dir), place.number)
    async with upstream_of(settings, meter.tally) as upstream:
        worker = Worker(settings, place, upstream, meter)
        await worker.run(stop, ready)
    meter.close()


def upstream_of(settings: Settings, tally: Tally) -> Upstream:
    """The upstream that the settings name, not yet entered."""
    upstream = settings.upstream
    secret, token = upstream.secret_key.get_secret_value(), upstream.session_token.get_secret_value()
    return Upstream(
        _address_of(settings),
        tally,
        credentials=Credentials(upstream.access_key, secret, token) if upstream.access_key else None,
        patience=UpstreamPatience(
            connections=upstream.connections,
            connect_timeout_s=upstream.connect_timeout_s,
            read_timeout_s=upstream.read_timeout_s,
            retries=upstream.retries,
        ),
    )


def _address_of(settings: Settings) -> Address:
    upstream = settings.upstream
    return Address(upstream.endpoint, upstream.region, upstream.path_style)


def prepare_for(settings: Settings) -> None:
    """Import and read what workers with these settings need and others do not, so that a fork has it."""
    with lean_imports():
        if not settings.upstream.access_key:
            importlib.import_module("aiobotocore.session")  # half a second
        if len(settings.view.nodes) > 1:
            importlib.import_module("cache.contest")  # numpy
    tls_of(_address_of(settings))


def _spare_files() -> int:
    """How many descriptors this process may use for chunk files (a quarter) and clients (two thirds)."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - FILES_RESERVED


def live(number: int, line: Line) -> int:
    """The life of worker ``number``, however its process began; the exit code."""
    setproctitle(f"forebay: worker {number}")
    document = line.read()
    if not document:  # the node has given up
        return 1
    settings = Settings.from_json(document)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    set_up_logs(settings.server.log_level, node=settings.cluster.node_id, worker=number)

    def ready() -> None:
        """Everything that lives as long as the process is built: the collector need not look at it again."""
        gc.collect()
        gc.freeze()
        line.ready()

    try:
        uvloop.run(serve(settings, place_of(settings, number), ready))
    except (OSError, DiskFault) as error:
        structlog.get_logger().error("worker cannot serve", why=str(error))
        return 1
    return 0


def main() -> int:
    """``python -m gateway.worker NUMBER``, the line on standard input."""
    return live(int(sys.argv[1]), line_from_stdin())


if __name__ == "__main__":
    raise SystemExit(main())
