"""The demo's machines: an embedded bucket server and N nodes, each a ``forebay serve`` of its own, on loopback.

Everything lives below one directory and dies with the context: configuration files, caches, logs. Nodes are configured
as an operator would do it (a TOML file each, an identities file, a cluster secret), with fresh keys for every run.
Objects of the demo are declared immutable, so that a second reading asks the bucket nothing at all. The bucket server
is rclone over a directory, or moto where rclone is not installed. A shell.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.servers.child import Listening, ServerFailed, running
from bench.servers.rclone import find_rclone

BUCKET: Final = "demo"
PORT_MIN: Final = 10_000
READY_S_MAX: Final = 30.0
_PORT_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_POLL_S: Final = 0.1
_ASK_S_MAX: Final = 10.0


@dataclass(frozen=True, slots=True)
class Keys:
    """An access key and its secret."""

    access_key: str
    secret_key: str

    @classmethod
    def fresh(cls, name: str) -> Keys:
        """New random keys; ``name`` begins the access key."""
        return cls(f"{name.upper()}{secrets.token_hex(6).upper()}", secrets.token_hex(20))


@dataclass(frozen=True, slots=True)
class Bucket:
    """The embedded upstream: where it listens, and its keys."""

    endpoint: str
    keys: Keys


@dataclass(frozen=True, slots=True)
class DemoNode:
    """One node: its ports on 127.0.0.1, and the keys of the rank that reads through it."""

    name: str
    port: int
    admin_port: int
    peer_port: int
    workers: int
    keys: Keys

    @property
    def endpoint(self) -> str:
        """Where S3 clients connect."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        """Where health, metrics and status are."""
        return f"http://127.0.0.1:{self.admin_port}"


@dataclass(frozen=True, slots=True)
class Load:
    """What the ranks are for the meter: GPUs each, and the target in bytes per second per GPU."""

    gpus: int
    target: float


def plan_nodes(count: int, workers: int) -> list[DemoNode]:
    """Names, free ports and fresh keys for ``count`` nodes."""
    each = 2 + workers
    first = free_ports(count * each)
    return [
        DemoNode(f"node-{place + 1}", port, port + 1, port + 2, workers, Keys.fresh(f"rank{place}"))
        for place, port in enumerate(range(first, first + count * each, each))
    ]


def free_ports(count: int) -> int:
    """The first of ``count`` neighbouring TCP ports that nobody has now. Raises ServerFailed.

    They lie below the range out of which the kernel takes ports for outgoing connections, of which the demo makes
    thousands before the last node listens.
    """
    ceiling = _outgoing_from() - count
    for _ in range(100):
        first = PORT_MIN + secrets.randbelow(ceiling - PORT_MIN)
        with ExitStack() as probes:
            try:
                for port in range(first, first + count):
                    probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except (OSError, OverflowError):
                continue
            return first
    raise ServerFailed(f"no {count} neighbouring ports are free")


def _outgoing_from() -> int:
    """The first port that the kernel gives to outgoing connections."""
    try:
        return max(int(_PORT_RANGE.read_text().split()[0]), 2 * PORT_MIN)
    except (OSError, ValueError, IndexError):
        return 32768


def render_config(node: DemoNode, nodes: Sequence[DemoNode], bucket: Bucket, state: Path, secret: str) -> str:
    """The node's TOML file (JSON's strings and numbers are TOML's)."""
    tables: list[tuple[str, dict[str, Any]]] = [
        ("[upstream]", {"endpoint": bucket.endpoint, **_upstream_keys(bucket.keys)}),
        ("[server]", {"port": node.port, "admin_port": node.admin_port, "workers": node.workers, "drain_s": 1.0}),
        ("[cache]", {"directory": str(state / node.name), "quota": "4GiB"}),
        ("[[freshness]]", {"bucket": BUCKET, "mode": "immutable"}),
        ("[identities]", {"file": str(state / "identities.toml")}),
        ("[cluster]", {"node_id": node.name, "peer_port": node.peer_port, "secret": secret}),
    ]
    if len(nodes) > 1:
        tables += [("[[cluster.members]]", _member(each)) for each in nodes]
    return _render(tables)


def render_identities(nodes: Sequence[DemoNode], load: Load) -> str:
    """The identities file: one rank of the job ``demo`` per node."""
    tables: list[tuple[str, dict[str, Any]]] = []
    for rank, node in enumerate(nodes):
        who = {"access_key": node.keys.access_key, "secret_key": node.keys.secret_key, "name": f"rank-{rank}"}
        meter = {"job": "demo", "rank": str(rank), "gpus": load.gpus, "target": f"{load.target:.0f}B/s"}
        tables.append(("[[identity]]", {**who, **meter}))
        tables.append(("[[identity.grants]]", {"buckets": ["*"], "prefixes": [""], "allow": ["read", "write", "list"]}))
    return _render(tables)


def _upstream_keys(keys: Keys) -> dict[str, str]:
    return {"access_key": keys.access_key, "secret_key": keys.secret_key}


def _member(node: DemoNode) -> dict[str, Any]:
    return {"id": node.name, "host": "127.0.0.1", "peer_port": node.peer_port, "workers": node.workers}


def _render(tables: Sequence[tuple[str, dict[str, Any]]]) -> str:
    blocks = (
        "\n".join([title, *(f"{name} = {json.dumps(value)}" for name, value in values.items())])
        for title, values in tables
    )
    return "\n\n".join(blocks) + "\n"


@contextmanager
def serve_bucket(state: Path) -> Iterator[Bucket]:
    """The embedded upstream, its data below ``state``. Raises ServerFailed."""
    keys = Keys.fresh("bucket")
    data = state / "bucket"
    data.mkdir(parents=True)
    with _bucket_server(data, state, keys) as listening:
        yield Bucket(listening.endpoint, keys)


def _bucket_server(data: Path, state: Path, keys: Keys) -> AbstractContextManager[Listening]:
    port = free_ports(1)
    try:
        command = [find_rclone(), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--config", os.devnull, str(data)]
    except ServerFailed:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environ = {"RCLONE_AUTH_KEY": f'"{keys.access_key},{keys.secret_key}"'}  # the quotes are rclone's
    return running("bucket", command, port=port, log=state / "bucket.log", environ=environ)


@contextmanager
def serve_nodes(nodes: Sequence[DemoNode], bucket: Bucket, load: Load, state: Path) -> Iterator[None]:
    """All nodes, started side by side; yields when each is ready. Raises ServerFailed with a log's tail."""
    secret = secrets.token_hex(32)
    write_private(state / "identities.toml", render_identities(nodes, load))

    def start(node: DemoNode) -> None:
        config = state / f"{node.name}.toml"
        write_private(config, render_config(node, nodes, bucket, state, secret))
        command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(config)]
        stack.enter_context(running(node.name, command, port=node.port, log=log_of(node, state)))
        await_ready(node, state)

    with ExitStack() as stack:
        with ThreadPoolExecutor(len(nodes)) as starters:
            list(starters.map(start, nodes))
        yield


def await_ready(node: DemoNode, state: Path) -> None:
    """Return when the node's readiness check passes. Raises ServerFailed, with its log's tail, if it does not."""
    give_up_s = time.monotonic() + READY_S_MAX
    while not is_up(node, "/health/ready"):
        if time.monotonic() > give_up_s:
            raise ServerFailed(f"{node.name} is not ready after {READY_S_MAX:.0f} s: {tail_of(node, state)}")
        time.sleep(_POLL_S)


def is_up(node: DemoNode, path: str) -> bool:
    """Whether a health check answers 200."""
    try:
        return _ask(node, path)[0] == 200
    except OSError:
        return False


def read_status(node: DemoNode) -> dict[str, Any]:
    """The node's status document. Raises OSError when it does not answer."""
    status, body = _ask(node, "/status")
    if status != 200:
        raise OSError(f"{node.name}: /status answers {status}")
    document: dict[str, Any] = json.loads(body)
    return document


def _ask(node: DemoNode, path: str) -> tuple[int, bytes]:
    link = http.client.HTTPConnection("127.0.0.1", node.admin_port, timeout=_ASK_S_MAX)
    try:
        link.request("GET", path)
        answer = link.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"{node.name}: {path}: {error!r}") from error
    finally:
        link.close()


def log_of(node: DemoNode, state: Path) -> Path:
    """The file with the node's output."""
    return state / f"{node.name}.log"


def tail_of(node: DemoNode, state: Path) -> str:
    """The last lines that the node wrote."""
    try:
        text = log_of(node, state).read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return text[-2000:].strip() or "it said nothing"


def write_private(path: Path, text: str) -> None:
    """A file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
