"""Where the bucket stands: in the path, or in front of a base domain in the Host header.

``bucket.base.domain/key`` is virtual-host style, ``anything.else/bucket/key`` is path style; an IP address, the bare
base domain and a host that nobody configured are path style. Bucket names follow S3's rules for general purpose
buckets ("Bucket naming rules" of the S3 user guide); what breaks them is refused at the door, so that no name ever
means anything to a file system or an upstream URL. Works on text that is already percent-decoded.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from gateway.s3.errors import S3Error

NAME_CHARACTERS_MAX: Final = 63
HOST_CHARACTERS_MAX: Final = 260

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_IPV4: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}", re.ASCII)


def is_bucket_name(name: str) -> bool:
    """Whether S3 would accept the name for a general purpose bucket."""
    return len(name) <= NAME_CHARACTERS_MAX and _is_bucket_name(name)


@lru_cache(maxsize=1024)
def _is_bucket_name(name: str) -> bool:
    return bool(_BUCKET.fullmatch(name)) and ".." not in name and not _IPV4.fullmatch(name)


def check_bucket(name: str) -> str:
    """The name itself. Raises S3Error InvalidBucketName."""
    if is_bucket_name(name):
        return name
    raise S3Error("InvalidBucketName", fields={"BucketName": name})


def host_name(host: str) -> str:
    """A Host header's name in lower case, without port and final dot; an IPv6 address keeps its brackets."""
    name = host.strip().lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0].rstrip(".")


def bucket_of_host(host: str, domains: tuple[str, ...]) -> str:
    """The bucket that a Host header names, or an empty string when the address is path style.

    The longest base domain that fits counts. The name is not checked yet.
    """
    return _bucket_of_host(host, domains) if len(host) <= HOST_CHARACTERS_MAX else ""


@lru_cache(maxsize=1024)
def _bucket_of_host(host: str, domains: tuple[str, ...]) -> str:
    name = host_name(host)
    if name.startswith("[") or _IPV4.fullmatch(name):
        return ""
    bases = [host_name(domain) for domain in domains]
    if name in bases:
        return ""
    fitting = [base for base in bases if base and name.endswith(f".{base}")]
    return name[: -len(max(fitting, key=len)) - 1] if fitting else ""
