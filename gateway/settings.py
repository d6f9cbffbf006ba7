"""Settings: every figure an operator may set, with its default, its bounds and what it means.

The models are values: frozen, checked as a whole when they are made, and complete once ``gateway/sources.py`` has read
them (it layers flags over ``FOREBAY_SECTION__KEY`` variables over the TOML file over the machine's own facts, so that
no empty host name, directory or worker count is left). Where a rule spans two keys, the model that holds both checks
it. A message says what is wrong, then after a semicolon how to put it right; the key is known from the place.

Only the composition roots (``node``, ``worker``) and the CLI know this module: all others are given plain values.
Secrets are masked in every rendering but ``to_json``, which hands a node's settings to its workers over a pipe.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    SerializationInfo,
    field_validator,
    model_validator,
)

from cache.views import Node, View
from gateway.quantities import parse_bytes, parse_rate

SECRET_BYTES_MIN: Final = 32
_QUOTA_MAX: Final = 1 << 40
_CHUNK_STEP: Final = 256 << 10
_REVEAL: Final = "reveal secrets"


def _optional_bytes(value: object) -> int:
    return 0 if value == "" else parse_bytes(value)


def _render_secret(value: SecretStr, info: SerializationInfo) -> str:
    text = value.get_secret_value()
    return text if info.context == _REVEAL or not text else "********"


def _words(value: object) -> object:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


Bytes = Annotated[int, BeforeValidator(parse_bytes)]
OptionalBytes = Annotated[int, BeforeValidator(_optional_bytes)]
Rate = Annotated[float, BeforeValidator(parse_rate), Field(gt=0)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Secret = Annotated[SecretStr, PlainSerializer(_render_secret)]
Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Wait = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def is_loopback(host: str) -> bool:
    """Whether a listener on ``host`` can be reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _must_agree(key: str, ours: int, listed: int) -> None:
    if ours != listed:
        raise ValueError(
            f"{key}: {ours} here but {listed} in cluster.members; "
            f"peers count on the latter: make them equal, or leave {key} out"
        )


class Section(BaseModel):
    """A table of the settings file: frozen, and closed to keys that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class UpstreamSettings(Section):
    """The real S3, and how the gateway speaks to it."""

    endpoint: str = Field(default="", description="URL of the real S3: http(s)://host[:port]")
    region: str = Field(default="us-east-1", min_length=1, description="region that upstream requests are signed for")
    path_style: bool = Field(default=True, description="true: endpoint/bucket/key; false: bucket.endpoint/key")
    access_key: str = Field(default="", description="upstream access key; empty: from the usual AWS places")
    secret_key: Secret = Field(default=SecretStr(""), description="upstream secret key")
    session_token: Secret = Field(default=SecretStr(""), description="upstream session token")
    connections: Count = Field(default=128, description="connections to upstream, at most, per worker")
    connect_timeout_s: Seconds = Field(default=5.0, description="seconds to wait for a connection")
    read_timeout_s: Seconds = Field(default=30.0, description="seconds to wait for the next bytes")
    retries: int = Field(default=3, ge=0, description="further attempts at a request that failed")

    @field_validator("endpoint")
    @classmethod
    def _endpoint_is_a_host(cls, value: str) -> str:
        fix = "write http(s)://host[:port], without path, user or query"
        try:
            url = urlsplit(value)
            known_port = url.port is None or url.port > 0
        except ValueError as error:
            raise ValueError(f"{value!r} is no URL; {fix}") from error
        extra = url.path.strip("/") or url.query or url.fragment or url.username is not None
        if value and (url.scheme not in {"http", "https"} or not url.hostname or extra or not known_port):
            raise ValueError(f"{value!r} is no S3 endpoint; {fix}")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _keys_come_in_pairs(self) -> Self:
        if bool(self.access_key) != bool(self.secret_key.get_secret_value()):
            raise ValueError(
                "secret_key: only half of a key pair is set; set both access_key and secret_key, or neither"
            )
        return self


class ServerSettings(Section):
    """Where clients connect, and who may."""

    host: str = Field(default="127.0.0.1", min_length=1, description="address that clients connect to")
    port: Port = Field(default=9000, description="port that clients connect to")
    domains: Words = Field(default=("localhost",), description="names under which bucket.NAME is a bucket")
    workers: int = Field(default=0, ge=0, le=1024, description="data workers; 0: one per core")
    auth: Literal["sigv4", "none"] = Field(
        default="sigv4", description="sigv4: verify every request; none: trust everyone"
    )
    allow_insecure: bool = Field(default=False, description="allow auth = none on an address that others reach")
    drain_s: Wait = Field(default=30.0, description="seconds that running requests get after SIGTERM")
    admin_host: str = Field(default="127.0.0.1", min_length=1, description="address of health, metrics and status")
    admin_port: Port = Field(default=9100, description="port of health, metrics and status")
    header_timeout_s: Seconds = Field(default=10.0, description="seconds for a request's head to arrive")
    idle_timeout_s: Seconds = Field(default=300.0, description="seconds that an idle connection is kept")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe line logged"
    )
    access_log: bool = Field(default=False, description="log one line per request")

    @model_validator(mode="after")
    def _no_open_door(self) -> Self:
        if self.auth == "none" and not self.allow_insecure and not is_loopback(self.host):
            raise ValueError(
                f'auth: "none" on {self.host} lets anyone in; set server.auth = "sigv4", '
                "bind 127.0.0.1, or set server.allow_insecure = true"
            )
        if self.port == self.admin_port and self.host == self.admin_host:
            raise ValueError(f"admin_port: {self.admin_port} is the clients' port too; give them different ports")
        return self


class CacheSettings(Section):
    """What this node keeps, where, and how it is checked."""

    directory: str = Field(default="", description="cache directory; empty: $XDG_CACHE_HOME/forebay")
    quota: OptionalBytes = Field(
        default=0, description="bytes of chunks, at most; 0: 80 % of the disk's free space, ≤ 1 TiB"
    )
    chunk_size: Bytes = Field(default=8 << 20, description="bytes per chunk: a power of two from 256KiB to 1GiB")
    verify: Literal["auto", "always"] = Field(
        default="auto", description="auto: hash what comes from the disk; always: all"
    )
    policy: Literal["s3fifo", "lru"] = Field(default="s3fifo", description="which chunk leaves first at the quota")
    fills_max: Count = Field(default=32, description="chunks brought from upstream at once, per worker")
    readahead: int = Field(default=12, ge=0, description="chunks filled ahead of a sequential read")
    disk_rest_s: Seconds = Field(default=30.0, description="seconds that a disk which keeps failing is left alone")
    stale_if_error_s: Wait = Field(
        default=0.0, description="seconds past freshness that entries serve while upstream is down"
    )

    @field_validator("chunk_size")
    @classmethod
    def _chunks_divide_evenly(cls, value: int) -> int:
        if value & (value - 1) or not _CHUNK_STEP <= value <= 1 << 30:
            raise ValueError(f"{value} bytes is no chunk size; use a power of two from 256KiB to 1GiB, such as 8MiB")
        return value


class FreshnessSettings(Section):
    """How long what is known of some keys counts; the first rule that matches decides."""

    bucket: str = Field(default="*", min_length=1, description="buckets that the rule covers (a glob)")
    prefix: str = Field(default="", description="keys that the rule covers begin with this")
    mode: Literal["ttl", "always", "immutable"] = Field(
        default="ttl", description="revalidate after ttl_s, always or never"
    )
    ttl_s: Seconds = Field(default=5.0, description="seconds until an entry is revalidated (mode ttl)")


class MemberSettings(Section):
    """One node of the cluster, as all its members must list it."""

    id: str = Field(min_length=1, description="the node's name, unique in the cluster")
    host: str = Field(min_length=1, description="address where the node's workers listen for peers")
    peer_port: Port = Field(default=9200, description="peer port of the node's first worker; worker i adds i")
    workers: int = Field(ge=1, le=1024, description="the node's data workers")
    weight: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="the node's share of the chunks, relative"
    )
    zone: str = Field(default="", description="the node's zone")

    @model_validator(mode="after")
    def _ports_exist(self) -> Self:
        if self.peer_port + self.workers - 1 > 65535:
            raise ValueError(f"{self.workers} workers from port {self.peer_port} pass 65535; use a lower peer_port")
        return self


class ClusterSettings(Section):
    """Who else keeps chunks, and how nodes know each other."""

    node_id: str = Field(default="", description="this node's name; empty: the host name")
    secret: Secret = Field(default=SecretStr(""), description="secret that all nodes share, at least 32 bytes")
    secret_file: str = Field(default="", description="file that holds the secret")
    peer_host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on for peers")
    peer_port: Port = Field(
        default=9200, description="peer port of worker 0; worker i adds i; in a cluster: as listed in members"
    )
    lease_s: Seconds = Field(default=5.0, description="seconds after which a silent member's claims lapse")
    members: tuple[MemberSettings, ...] = Field(
        default=(), description="all nodes, this one included; empty: it is alone"
    )

    @model_validator(mode="after")
    def _members_agree(self) -> Self:
        ids = [member.id for member in self.members]
        twice = next((node_id for node_id in ids if ids.count(node_id) > 1), None)
        if twice is not None:
            raise ValueError(f"members: two are named {twice!r}; give each node an id of its own")
        if self.members and self.node_id and self.node_id not in ids:
            raise ValueError(
                f"node_id: {self.node_id!r} is not among the members {', '.join(ids)}; add it, or name one"
            )
        if self.members and len(self.secret.get_secret_value().encode()) < SECRET_BYTES_MIN:
            held = "the secret is too short" if self.secret.get_secret_value() else "there is no secret"
            raise ValueError(
                f"secret: members are listed but {held}; set cluster.secret_file or "
                f"FOREBAY_CLUSTER__SECRET to at least {SECRET_BYTES_MIN} bytes"
            )
        return self


class IdentitiesSettings(Section):
    """Who the gateway's clients are."""

    file: str = Field(
        default="", description="the clients' keys; empty: identities.toml in the cache directory, generated once"
    )


class MeterSettings(Section):
    """What a client should get."""

    target: Rate = Field(
        default=7e9, validate_default=True, description="bytes per second per GPU, where no identity says"
    )


class Settings(Section):
    """All settings of one node. Raises pydantic's ValidationError when made from values that cannot work."""

    upstream: UpstreamSettings = UpstreamSettings()
    server: ServerSettings = ServerSettings()
    cache: CacheSettings = CacheSettings()
    freshness: tuple[FreshnessSettings, ...] = ()
    cluster: ClusterSettings = ClusterSettings()
    identities: IdentitiesSettings = IdentitiesSettings()
    meter: MeterSettings = MeterSettings()

    @model_validator(mode="after")
    def _we_are_as_our_peers_know_us(self) -> Self:
        cluster, workers = self.cluster, self.server.workers
        member = next((each for each in cluster.members if each.id == cluster.node_id), None)
        if member is not None and workers > 0:
            _must_agree("server.workers", workers, member.workers)
        if member is not None and "peer_port" in cluster.model_fields_set:
            _must_agree("cluster.peer_port", cluster.peer_port, member.peer_port)
        return self

    @property
    def node(self) -> Node:
        """This node, as its peers know it. Raises ValueError unless the settings were completed."""
        cluster = self.cluster
        found = self.view.node(cluster.node_id)
        if found is None:
            raise ValueError("the settings name no node: load them with gateway.sources.load_settings")
        return found

    @property
    def view(self) -> View:
        """The cluster as configured: its members, or this node alone. Raises ValueError unless completed."""
        cluster = self.cluster
        if not cluster.members:
            return View(1, (Node(cluster.node_id, cluster.peer_host, cluster.peer_port, self.server.workers),))
        nodes = (Node(m.id, m.host, m.peer_port, m.workers, m.weight, m.zone) for m in cluster.members)
        return View(1, tuple(sorted(nodes, key=lambda node: node.id)))

    def quota_bytes(self, *, free_bytes: int, cached_bytes: int) -> int:
        """The quota in bytes, on a disk with so much free and a cache that holds so much already.

        By default it is 80 % of what the cache could have, so that a restart with a full cache does not shrink it.
        """
        return self.cache.quota or min((free_bytes + cached_bytes) * 8 // 10, _QUOTA_MAX)

    def to_json(self) -> str:
        """Everything, secrets included, for a worker's standard input: never log it."""
        return self.model_dump_json(context=_REVEAL)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The settings that ``to_json`` wrote."""
        return cls.model_validate_json(text)
