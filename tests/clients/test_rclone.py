"""rclone as a client of the gateway: it copies a tree up and down, and compares."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bench.servers.rclone import find_rclone
from tests.cluster import ACCESS_KEY, SECRET_KEY, Cluster

pytestmark = pytest.mark.timeout(120)


def rclone(cluster: Cluster, number: int, *arguments: str) -> str:
    """What a run says, with the node as the remote ``gate``."""
    remote = {
        "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": cluster.nodes[number].endpoint, "ACCESS_KEY_ID": ACCESS_KEY,
        "SECRET_ACCESS_KEY": SECRET_KEY, "REGION": "us-east-1", "CHUNK_SIZE": "5Mi", "UPLOAD_CUTOFF": "6Mi",
    }  # fmt: skip
    environ = {f"RCLONE_CONFIG_GATE_{name}": value for name, value in remote.items()}
    command = [find_rclone(), "--config", os.devnull, "--retries", "1", *arguments]
    environ |= os.environ
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_tree(cluster: Cluster, bucket: str, tmp_path: Path) -> None:
    for number in range(30):
        path = tmp_path / "up" / f"dir {number % 3}" / f"f+ü{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 1000))
    (tmp_path / "up" / "large").write_bytes(os.urandom(13_000_000))
    rclone(cluster, 0, "copy", str(tmp_path / "up"), f"gate:{bucket}")
    for number in (1, 0):
        rclone(cluster, number, "copy", f"gate:{bucket}", str(tmp_path / f"down{number}"))
        assert not subprocess.run(["diff", "-r", tmp_path / "up", tmp_path / f"down{number}"], check=False).returncode
        rclone(cluster, number, "check", "--download", str(tmp_path / "up"), f"gate:{bucket}")
    rclone(cluster, 1, "delete", f"gate:{bucket}/dir 1")
    listed = rclone(cluster, 0, "lsf", "-R", "--files-only", f"gate:{bucket}").splitlines()
    assert len(listed) == 21
