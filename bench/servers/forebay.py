"""One Forebay node with one data worker, started the way a user starts it: ``forebay serve --config FILE``.

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
node_id = "bench"
peer_port = {peer_port}

[[freshness]]
mode = "immutable"

[identities]
file = {identities}
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


@contextmanager
def serve_gateway(
    upstream: Door, state: Path, *, access_key: str, secret_key: str, cpus: Sequence[int] = ()
) -> Iterator[Listening]:
    """A node over ``upstream``, for one client with the given keys; its cache lies under ``state``."""
    port = free_port()
    config = write_settings(upstream, state, port=port, access_key=access_key, secret_key=secret_key)
    command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(config)]
    with running("forebay", command, port=port, log=state / "forebay.log", cpus=cpus) as listening:
        yield listening


def write_settings(upstream: Door, state: Path, *, port: int, access_key: str, secret_key: str) -> Path:
    """Settings and identities of such a node under ``state``; where the settings are."""
    state.mkdir(parents=True, exist_ok=True)
    identities = _write(state / "identities.toml", _IDENTITIES, access_key=access_key, secret_key=secret_key)
    return _write(
        state / "forebay.toml",
        _CONFIG,
        endpoint=upstream.endpoints[0],
        upstream_access_key=upstream.access_key,
        upstream_secret_key=upstream.secret_key,
        port=port,
        admin_port=free_port(),
        peer_port=free_port(),
        cache=str(state / "cache"),
        quota="8GiB",
        identities=str(identities),
    )


def _write(path: Path, template: str, **values: str | int) -> Path:
    """The template with each value as TOML has it (JSON's strings and numbers are TOML's)."""
    text = template.format(**{name: json.dumps(value) for name, value in values.items()})
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path
