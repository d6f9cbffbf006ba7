"""The settings as values: bounds, rules across keys, what is derived, and how secrets are kept."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cache.views import Node
from gateway.settings import Settings, is_loopback

SECRET = "s" * 32
MEMBERS = [
    {"id": "b", "host": "10.0.0.2", "peer_port": 9300, "workers": 4, "weight": 2.0, "zone": "z"},
    {"id": "a", "host": "10.0.0.1", "workers": 2},
]
CLUSTER = {"node_id": "a", "secret": SECRET, "members": MEMBERS}


def make(**sections: Any) -> Settings:
    return Settings.model_validate(sections)


def test_defaults_serve_loopback_with_signatures() -> None:
    settings = Settings()
    assert is_loopback(settings.server.host)
    assert is_loopback(settings.server.admin_host)
    assert settings.server.auth == "sigv4"
    assert settings.cache.chunk_size == 8 << 20
    assert settings.meter.target == 7e9


def test_values_cannot_change() -> None:
    with pytest.raises(ValidationError):
        Settings().server.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"server": {"port": 0}}, "greater than or equal to 1"),
        ({"server": {"port": 65536}}, "less than or equal to 65535"),
        ({"server": {"workers": -1}}, "greater than or equal to 0"),
        ({"server": {"auth": "none", "host": "0.0.0.0"}}, "lets anyone in"),
        ({"server": {"auth": "none", "host": "gateway.internal"}}, "lets anyone in"),
        ({"server": {"port": 9100}}, "the clients' port too"),
        ({"server": {"drain_s": float("nan")}}, "finite"),
        ({"cache": {"chunk_size": "5MiB"}}, "no chunk size"),
        ({"cache": {"chunk_size": "128KiB"}}, "no chunk size"),
        ({"cache": {"chunk_size": "2GiB"}}, "no chunk size"),
        ({"cache": {"quota": "lots"}}, "no size"),
        ({"cache": {"policy": "fifo"}}, "s3fifo"),
        ({"upstream": {"endpoint": "s3.example.com"}}, "no S3 endpoint"),
        ({"upstream": {"endpoint": "ftp://s3.example.com"}}, "no S3 endpoint"),
        ({"upstream": {"endpoint": "http://host/bucket"}}, "no S3 endpoint"),
        ({"upstream": {"endpoint": "http://user:word@host"}}, "no S3 endpoint"),
        ({"upstream": {"endpoint": "http://host:0"}}, "no S3 endpoint"),
        ({"upstream": {"endpoint": "http://host:port"}}, "no URL"),
        ({"upstream": {"access_key": "a"}}, "half of a key pair"),
        ({"upstream": {"secret_key": "a"}}, "half of a key pair"),
        ({"freshness": [{"mode": "never"}]}, "'ttl', 'always' or 'immutable'"),
        ({"freshness": [{"ttl_s": 0}]}, "greater than 0"),
        ({"cluster": CLUSTER | {"secret": ""}}, "there is no secret"),
        ({"cluster": CLUSTER | {"secret": "s" * 31}}, "too short"),
        ({"cluster": CLUSTER | {"node_id": "c"}}, "not among the members"),
        ({"cluster": CLUSTER | {"members": [*MEMBERS, MEMBERS[0]]}}, "two are named 'b'"),
        ({"cluster": {"members": [{"id": "a", "host": "h", "peer_port": 65535, "workers": 2}]}}, "pass 65535"),
        ({"cluster": {"members": [{"id": "a", "host": "h"}]}}, "Field required"),
        ({"cluster": CLUSTER, "server": {"workers": 3}}, "3 here but 2"),
        ({"cluster": CLUSTER | {"peer_port": 9300}}, "cluster.peer_port: 9300 here but 9200"),
        ({"meter": {"target": 0}}, "greater than 0"),
        ({"meter": {"target": "7Gb/s"}}, "no rate"),
        ({"severs": {}}, "Extra inputs"),
        ({"server": {"prot": 1}}, "Extra inputs"),
    ],
)
def test_what_cannot_work_is_refused(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        make(**sections)


@pytest.mark.parametrize(
    "sections",
    [
        {"server": {"auth": "none"}},
        {"server": {"auth": "none", "host": "::1"}},
        {"server": {"auth": "none", "host": "0.0.0.0", "allow_insecure": True}},
        {"server": {"port": 9100, "host": "0.0.0.0"}},
        {"cache": {"chunk_size": "256KiB", "quota": ""}},
        {"cache": {"chunk_size": 1 << 30, "quota": "64GB"}},
        {"upstream": {"endpoint": "https://s3.example.com:9000"}},
        {"upstream": {"endpoint": "http://[::1]:9000"}},
        {"upstream": {"access_key": "a", "secret_key": "b"}},
        {"cluster": CLUSTER, "server": {"workers": 2}},
        {"cluster": CLUSTER | {"node_id": "b", "peer_port": 9300}},
        {"cluster": CLUSTER | {"node_id": "b"}},
        {"cluster": CLUSTER | {"secret": "ü" * 16}},
    ],
)
def test_what_can_work_is_taken(sections: dict[str, Any]) -> None:
    assert make(**sections)


def test_an_endpoint_loses_its_slash() -> None:
    assert make(upstream={"endpoint": "http://host:1/"}).upstream.endpoint == "http://host:1"


def test_domains_may_be_written_as_words() -> None:
    assert make(server={"domains": "localhost, s3.local"}).server.domains == ("localhost", "s3.local")


def test_a_node_alone_is_its_own_view() -> None:
    settings = make(cluster={"node_id": "me", "peer_port": 9400}, server={"workers": 3})
    assert settings.view.nodes == (Node("me", "127.0.0.1", 9400, 3),)
    assert settings.node == settings.view.nodes[0]


def test_members_become_a_sorted_view_with_this_node_in_it() -> None:
    settings = make(cluster=CLUSTER)
    assert settings.view.nodes == (Node("a", "10.0.0.1", 9200, 2), Node("b", "10.0.0.2", 9300, 4, 2.0, "z"))
    assert settings.node == settings.view.nodes[0]


def test_incomplete_settings_name_no_node() -> None:
    with pytest.raises(ValueError, match="name no node"):
        _ = make(cluster=CLUSTER | {"node_id": ""}).node


@pytest.mark.parametrize(
    ("quota", "free", "cached", "expected"),
    [("", 1000, 0, 800), ("", 200, 800, 800), ("", 1 << 50, 0, 1 << 40), ("5KiB", 10, 0, 5120)],
)
def test_the_quota(quota: str, free: int, cached: int, expected: int) -> None:
    assert make(cache={"quota": quota}).quota_bytes(free_bytes=free, cached_bytes=cached) == expected


def test_secrets_show_in_nothing_but_the_json_for_workers() -> None:
    settings = make(
        upstream={"access_key": "a", "secret_key": "hush1", "session_token": "hush2"},
        cluster=CLUSTER | {"secret": "hush3" * 8},
    )
    for shown in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert "hush" not in shown
    assert Settings.from_json(settings.to_json()) == settings
    assert settings.to_json().count("hush") == 10


def test_a_refused_secret_is_not_quoted() -> None:
    with pytest.raises(ValidationError) as caught:
        make(cluster=CLUSTER | {"secret": "hush"})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("host", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected
