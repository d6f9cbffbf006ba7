"""Two upstreams that are not ours (moto, and rclone over a directory), and two nodes before each.

The nodes and the upstream live as long as there are tests over that upstream, whatever their module: a test takes a
bucket of its own, and leaves the nodes as they are. xdist keeps these tests together by their ids (tests/conftest.py).
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from bench.servers.child import free_port, running
from bench.servers.rclone import serve_upstream
from tests.cluster import IDENTITIES, Cluster

UPSTREAM_KEYS = {"aws_access_key_id": "upstream", "aws_secret_access_key": "upstream-secret"}
SESSION_TOKEN = "FwoGZXIvYXdzEBYaD+token/with=odd+signs=="
SESSION_IDENTITY = f"""
[[identity]]
access_key = "SESSIONKEY"
secret_key = "session-secret-key"
session_token = "{SESSION_TOKEN}"

[[identity.grants]]
allow = ["read", "write", "list"]
"""
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Upstream:
    """An upstream of somebody else's make. ``name``: moto or rclone."""

    name: str
    endpoint: str

    def boto3(self) -> Any:
        """A client of the upstream itself, past the gateway."""
        config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1, "mode": "standard"})
        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", config=config, **UPSTREAM_KEYS
        )  # fmt: skip


@contextmanager
def serve_moto(directory: Path) -> Iterator[Upstream]:
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running("moto", command, port=port, log=directory / "moto.log") as listening:
        yield Upstream("moto", listening.endpoint)


@contextmanager
def serve_rclone(directory: Path) -> Iterator[Upstream]:
    (directory / "buckets").mkdir()
    keys = {"access_key": "upstream", "secret_key": "upstream-secret"}
    with serve_upstream(directory / "buckets", directory / "state", **keys) as listening:
        yield Upstream("rclone", listening.endpoint)


@pytest.fixture(scope="session", params=[serve_moto, serve_rclone], ids=["moto", "rclone"])
def upstream(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with request.param(tmp_path_factory.mktemp("upstream")) as served:
        yield served


@pytest.fixture(scope="session")
def cluster(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes: the first with two workers, the second with two as well."""
    directory = tmp_path_factory.mktemp("cluster")
    (directory / "who.toml").write_text(IDENTITIES + SESSION_IDENTITY)
    settings = {"identities": {"file": str(directory / "who.toml")}, "cache": {"chunk_size": "1MiB"}}
    with Cluster(directory, upstream.endpoint, nodes=2, settings=settings) as cluster:
        yield cluster


@pytest.fixture
def direct(upstream: Upstream) -> Any:
    return upstream.boto3()


@pytest.fixture
def clients(cluster: Cluster) -> list[Any]:
    """A boto3 client for each node."""
    return [cluster.boto3(number, signature_version="s3v4") for number in range(len(cluster.nodes))]


@pytest.fixture
def bucket(clients: list[Any]) -> str:
    """A new bucket, made through the gateway."""
    name = f"bucket-{next(_numbers)}"
    clients[0].create_bucket(Bucket=name)
    return name


@pytest.fixture
def only_moto(upstream: Upstream) -> None:
    if upstream.name != "moto":
        pytest.skip("rclone's S3 server does not do this")


Read = Callable[[Any, str, str], bytes]


@pytest.fixture
def read() -> Read:
    """The whole object, through a client."""
    return lambda client, bucket, key: client.get_object(Bucket=bucket, Key=key)["Body"].read()
