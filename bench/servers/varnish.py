"""Varnish as a cache in front of the same upstream, from memory: what people put before an object store.

It keeps everything for a day and looks at nothing but the URL: signatures are passed on at a miss (the Host header with
them: the upstream verifies) and ignored at a hit. One thread pool; objects lie in ``malloc`` storage, so a hit is a
copy from memory. See varnishd(1) and vcl(7).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.servers.child import Listening, ServerFailed, free_port, running

MISSING: Final = "varnish is not installed; run bench/install-debian.sh (Debian, Ubuntu) or install it yourself"
STORAGE_BYTES: Final = 3 * 1024**3
_VCL: Final = """\
vcl 4.1;
backend upstream {{ .host = "{host}"; .port = "{port}"; }}
sub vcl_recv {{
    if (req.method != "GET" && req.method != "HEAD") {{ return (pass); }}
    return (hash);
}}
sub vcl_hash {{ hash_data(req.url); return (lookup); }}
sub vcl_backend_response {{
    if (beresp.status != 200) {{ set beresp.uncacheable = true; set beresp.ttl = 1s; return (deliver); }}
    set beresp.ttl = 1d;
    return (deliver);
}}
"""


def find_varnish() -> str:
    """The varnishd binary. Raises ServerFailed if there is none."""
    found = shutil.which("varnishd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ServerFailed(MISSING)
    return found


def varnish_version() -> str:
    """The version of the varnishd binary, such as ``7.1.1``."""
    said = subprocess.run([find_varnish(), "-V"], capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
    return (said.stderr + said.stdout).partition("varnish-")[2].partition(" ")[0] or "unknown"


@contextmanager
def serve_varnish(upstream: str, state: Path, *, cpus: Sequence[int] = ()) -> Iterator[Listening]:
    """A cache before the URL ``upstream``; ``state``: a directory for its own files."""
    binary = find_varnish()
    state.mkdir(parents=True, exist_ok=True)
    where = urlsplit(upstream)
    rules = state / "bench.vcl"
    rules.write_text(_VCL.format(host=where.hostname, port=where.port), encoding="utf-8")
    port = free_port()
    command = [
        binary, "-F", "-j", "none", "-n", str(state / "work"), "-a", f"127.0.0.1:{port}", "-f", str(rules),
        "-s", f"malloc,{STORAGE_BYTES}", "-p", "thread_pools=1", "-p", "thread_pool_min=50",
    ]  # fmt: skip
    with running("varnish", command, port=port, log=state / "varnish.log", cpus=cpus) as listening:
        yield listening
