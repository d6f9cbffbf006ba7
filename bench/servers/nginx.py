"""One tuned nginx worker over plain files: the fastest way to the same bytes, checking nothing.

The directives are those that decide: ``sendfile`` with 256 KiB slices and without ``tcp_nopush`` (head and body then
leave as soon as they can), descriptors kept open (``open_file_cache``), no access log, connections kept for ever. It
answers ``GET /bucket/key`` with the file at that path and ignores the signature. See ngx_http_core_module's directives.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.servers.child import Listening, ServerFailed, free_port, running

MISSING: Final = "nginx is not installed; run bench/install-debian.sh (Debian, Ubuntu) or install it yourself"
_CONFIG: Final = """\
{user}
worker_processes 1;
daemon off;
pid {state}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    default_type application/octet-stream;
    access_log off;
    sendfile on;
    tcp_nopush off;
    tcp_nodelay on;
    sendfile_max_chunk 256k;
    open_file_cache max=100000 inactive=1h;
    open_file_cache_valid 1h;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path {state}/body;
    proxy_temp_path {state}/proxy;
    fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi;
    scgi_temp_path {state}/scgi;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def find_nginx(*, path: str = "") -> str:
    """The nginx binary on ``path`` (default: where commands and daemons are). Raises ServerFailed if there is none."""
    found = shutil.which("nginx", path=path or f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ServerFailed(MISSING)
    return found


def nginx_version() -> str:
    """The version of the nginx binary, such as ``1.22.1``."""
    said = subprocess.run([find_nginx(), "-v"], capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
    return said.stderr.strip().rpartition("/")[2]


@contextmanager
def serve_files(root: Path, state: Path, *, cpus: Sequence[int] = ()) -> Iterator[Listening]:
    """Serve ``root`` (its subdirectories are buckets); ``state``: a directory for nginx's own files."""
    binary = find_nginx()
    state.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = state / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # else its worker could not read a private directory
    config.write_text(_CONFIG.format(user=user, state=state, port=port, root=root), encoding="utf-8")
    command = [binary, "-p", str(state), "-c", str(config), "-e", "stderr"]
    with running("nginx", command, port=port, log=state / "nginx.log", cpus=cpus) as listening:
        yield listening
