"""Which gateway to ask, as whom, and what to be counted as.

A :class:`Gateway` is a value: it travels to worker processes as it is. What is not given comes from the environment,
under the names that every S3 client reads (``AWS_ENDPOINT_URL_S3`` before ``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``
…); without credentials requests go out unsigned. ``job``, ``rank`` and ``gpus`` refine the meter's idea of this client
and are sent with each request; the rank comes from ``FOREBAY_RANK`` or ``RANK``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

DEFAULT_ENDPOINT: Final = "http://127.0.0.1:9000"


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway and the client that asks it. Times in seconds; ``connections`` bounds the sockets of one reader."""

    endpoint: str = DEFAULT_ENDPOINT
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    region: str = "us-east-1"
    job: str = ""
    rank: str = ""
    gpus: int = 0
    connections: int = 16
    attempts: int = 6
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"endpoint {self.endpoint!r} is no http:// or https:// address")
        if parts.path not in {"", "/"} or parts.query:
            raise ValueError(f"endpoint {self.endpoint!r} must not have a path")
        if self.connections < 1 or self.attempts < 1:
            raise ValueError("connections and attempts must be at least 1")
        for name in ("job", "rank"):
            value = getattr(self, name)
            if not value.isascii() or not (value == "" or value.isprintable()):
                raise ValueError(f"{name} {value!r} must be printable ASCII")

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return urlsplit(self.endpoint).scheme == "https"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to connect to."""
        parts = urlsplit(self.endpoint)
        return str(parts.hostname), parts.port or (443 if self.tls else 80)

    @property
    def authority(self) -> str:
        """The Host header's value: without the scheme's own port."""
        return urlsplit(self.endpoint).netloc.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process stands in a training job: ``rank`` of ``world`` processes."""

    rank: int = 0
    world: int = 1


ENVIRONMENT: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("endpoint", ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")),
    ("access_key", ("AWS_ACCESS_KEY_ID",)),
    ("secret_key", ("AWS_SECRET_ACCESS_KEY",)),
    ("session_token", ("AWS_SESSION_TOKEN",)),
    ("region", ("AWS_REGION", "AWS_DEFAULT_REGION")),
    ("job", ("FOREBAY_JOB",)),
    ("rank", ("FOREBAY_RANK", "RANK")),
)
CREDENTIALS: Final = frozenset({"access_key", "secret_key", "session_token"})


def find_gateway(environ: Mapping[str, str], **given: str | float | None) -> Gateway:
    """The gateway that ``given`` and, for what is None or absent there, the environment name.

    Credentials come all from one place: with ``access_key`` given, none is taken from the environment.
    Raises ValueError for an endpoint that is none.
    """
    values: dict[str, str | float] = {name: value for name, value in given.items() if value is not None}
    skipped = CREDENTIALS if values.get("access_key") else frozenset[str]()
    for name, variables in ENVIRONMENT:
        found = next((environ[variable] for variable in variables if environ.get(variable)), None)
        if found is not None and name not in values and name not in skipped:
            values[name] = found
    return Gateway(**values)  # type: ignore[arg-type]  # the dataclass's own field names, checked by their use


def split_location(location: str) -> tuple[str, str]:
    """Bucket and key (or prefix) of ``s3://bucket/key``, ``forebay://bucket/key`` or ``bucket/key``.

    Nothing is unquoted. Raises ValueError when there is no bucket.
    """
    scheme, mark, rest = location.partition("://")
    if mark and scheme not in {"s3", "s3a", "forebay"}:
        raise ValueError(f"{location!r}: expected s3://bucket/prefix")
    bucket, _, key = (rest if mark else location).partition("/")
    if not bucket:
        raise ValueError(f"{location!r} names no bucket")
    return bucket, key


def find_place(environ: Mapping[str, str]) -> Place:
    """Rank and world size from ``RANK`` and ``WORLD_SIZE`` (or ``WORLD``); one process of one without them."""
    rank = environ.get("RANK", "")
    world = environ.get("WORLD_SIZE", "") or environ.get("WORLD", "")
    if not rank.isdigit() or not world.isdigit() or int(rank) >= int(world):
        return Place()
    return Place(int(rank), int(world))
