"""What the demo writes for its nodes is what nodes accept; what does not come up is told with its last words."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bench.demo_cluster import (
    Bucket,
    Keys,
    Load,
    free_ports,
    is_up,
    plan_nodes,
    read_status,
    render_config,
    render_identities,
    serve_bucket,
    tail_of,
    write_private,
)
from bench.demo_passes import s3_client
from gateway.identities import load_identities
from gateway.sources import load_settings
from tests.doubles.scripted_server import ScriptedServer

BUCKET = Bucket("http://127.0.0.1:1", Keys("AK", "SK"))


@pytest.mark.parametrize("count", [1, 3])
def test_nodes_accept_their_configuration(tmp_path: Path, count: int) -> None:
    nodes = plan_nodes(count, 2)
    write_private(tmp_path / "identities.toml", render_identities(nodes, Load(8, 5e9)))
    for node in nodes:
        config = tmp_path / f"{node.name}.toml"
        write_private(config, render_config(node, nodes, BUCKET, tmp_path, "s" * 64))
        settings = load_settings(config, environment={})
        assert (settings.server.port, settings.server.workers) == (node.port, 2)
        assert len(settings.view.nodes) == count
        assert settings.node.id == node.name
        assert [(rule.bucket, rule.mode) for rule in settings.freshness] == [("demo", "immutable")]
    identities = load_identities(str(tmp_path / "identities.toml"))
    for rank, node in enumerate(nodes):
        identity = identities.find(node.keys.access_key)
        assert identity is not None
        assert (identity.job, identity.rank, identity.gpus, identity.target) == ("demo", str(rank), 8, 5e9)
        assert identity.may("read", "demo", "objects/x")
    assert (tmp_path / "identities.toml").stat().st_mode & 0o777 == 0o600


def test_nodes_have_ports_and_keys_of_their_own() -> None:
    nodes = plan_nodes(3, 2)
    ports = [port for node in nodes for port in (node.port, node.admin_port, node.peer_port, node.peer_port + 1)]
    assert len(set(ports)) == len(ports)
    assert len({node.keys.access_key for node in nodes}) == 3


def test_neighbouring_ports_are_free() -> None:
    first = free_ports(3)
    for port in range(first, first + 3):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


def test_a_status_is_read_over_http(tmp_path: Path) -> None:
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"a": 1}'
    broken = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
    with ScriptedServer([[answer], [answer], [broken], [broken], [b"what?\r\n\r\n"]]) as server:
        (node,) = plan_nodes(1, 1)
        object.__setattr__(node, "admin_port", int(server.endpoint.rpartition(":")[2]))
        assert read_status(node) == {"a": 1}
        assert is_up(node, "/health/live")
        assert not is_up(node, "/health/live")
        with pytest.raises(OSError, match="answers 503"):
            read_status(node)
        assert not is_up(node, "/health/live")
    assert not is_up(node, "/health/live")
    assert tail_of(node, tmp_path) == "it said nothing"
    (tmp_path / f"{node.name}.log").write_text("x" * 5000 + "the end\n")
    assert tail_of(node, tmp_path).endswith("xthe end")


def test_the_embedded_bucket_checks_its_keys(tmp_path: Path) -> None:
    with serve_bucket(tmp_path) as bucket:
        client = s3_client(bucket.endpoint, bucket.keys)
        client.create_bucket(Bucket="bkt")
        client.put_object(Bucket="bkt", Key="k", Body=b"x")
        assert client.get_object(Bucket="bkt", Key="k")["Body"].read() == b"x"
        client.close()
        stranger = s3_client(bucket.endpoint, Keys.fresh("x"))
        with pytest.raises(stranger.exceptions.ClientError):
            stranger.get_object(Bucket="bkt", Key="k")
        stranger.close()
