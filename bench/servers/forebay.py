"""Forebay nodes with one data worker each, started the way a user starts them: ``forebay serve --config FILE``.

Every request is verified (SigV4) and authorised; nothing is switched off for the comparison but revalidation, since
the objects of a comparison are immutable. The identity and the upstream's keys stand in files that only their owner
may read.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.plan import Door
from bench.servers.child import Listening, free_port, running

_CONFIG: Final = """\
[upstream]
endpoint = {endpoint}
access_key = {upstream_access_key}
secret_key = {upstream_secret_key}

[server]
port = {port}
admin_port = {admin_port}
workers = 1
drain_s = 1.0
log_level = "warning"

[cache]
directory = {cache}
quota = {quota}

[cluster]
node_id = {node_id}
peer_port = {peer_port}
{secret}

[[freshness]]
mode = "immutable"

[identities]
file = {identities}
"""
_MEMBER: Final = """
[[cluster.members]]
id = {id}
host = "127.0.0.1"
peer_port = {peer_port}
workers = 1
weight = {weight}
"""
_IDENTITIES: Final = """\
[[identity]]
access_key = {access_key}
secret_key = {secret_key}
name = "bench"
gpus = 1

[[identity.grants]]
buckets = ["*"]
prefixes = [""]
allow = ["read", "write", "list"]
"""


@dataclass(frozen=True, slots=True)
class Member:
    """A node of a cluster: its name, its peer port, its share of the chunks (relative)."""

    id: str
    peer_port: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Which node of which cluster (no members: it is alone), where its admin port is (0: anywhere), and its disk."""

    node_id: str = "bench"
    members: tuple[Member, ...] = ()
    secret: str = ""
    admin_port: int = 0
    quota: str = "8GiB"


ALONE: Final = Place()


@contextmanager
def serve_gateway(
    upstream: Door,
    state: Path,
    *,
    access_key: str,
    secret_key: str,
    cpus: Sequence[int] = (),
    place: Place = ALONE,
) -> Iterator[Listening]:
    """A node over ``upstream``, for one client with the given keys; its cache lies under ``state``."""
    port = free_port()
    config = write_settings(upstream, state, port=port, access_key=access_key, secret_key=secret_key, place=place)
    command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(config)]
    with running("forebay", command, port=port, log=state / "forebay.log", cpus=cpus) as listening:
        yield listening


def write_settings(
    upstream: Door, state: Path, *, port: int, access_key: str, secret_key: str, place: Place = ALONE
) -> Path:
    """Settings and identities of such a node under ``state``; where the settings are."""
    state.mkdir(parents=True, exist_ok=True)
    identities = _write(state / "identities.toml", _IDENTITIES, access_key=access_key, secret_key=secret_key)
    ports = {member.id: member.peer_port for member in place.members}
    members = "".join(
        _MEMBER.format(id=json.dumps(each.id), peer_port=each.peer_port, weight=each.weight) for each in place.members
    )
    return _write(
        state / "forebay.toml",
        _CONFIG.replace("{secret}\n", f"secret = {json.dumps(place.secret)}\n{members}" if members else ""),
        endpoint=upstream.endpoints[0],
        upstream_access_key=upstream.access_key,
        upstream_secret_key=upstream.secret_key,
        port=port,
        admin_port=place.admin_port or free_port(),
        node_id=place.node_id,
        peer_port=ports.get(place.node_id) or free_port(),
        cache=str(state / "cache"),
        quota=place.quota,
        identities=str(identities),
    )


def _write(path: Path, template: str, **values: str | int) -> Path:
    """The template with each value as TOML has it (JSON's strings and numbers are TOML's)."""
    text = template.format(**{name: json.dumps(value) for name, value in values.items()})
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path
