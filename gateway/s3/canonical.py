"""The canonical request of Signature Version 4 and its seal: what both verifying and signing hash, and the keyed hash.

S3's variant: the path is not normalised and encoded once, the query is sorted by encoded name, then value, and a
valueless parameter gets an empty one. AWS derives the form from what a request *means* (decode, then encode again);
most clients send exactly that spelling, and one that already is in it costs one regex. Some clients sign another
spelling as they sent it: ``as_sent`` builds that form too, and both decode to the same request, so a verifier may take
either. The derived key is kept by secret, day, region and service. "Signature calculations for the Authorization
header" of the Amazon S3 API reference.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Final
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from cache.macs import mac_of

ALGORITHM: Final = "AWS4-HMAC-SHA256"
DAY_S: Final = 86_400

_ESCAPE: Final = r"%(?:[0189A-F][0-9A-F]|2[0-9ABC{slash}]|3[A-F]|40|5[BCDE]|60|7[BCDF])"
"""A percent escape of what must be escaped, that is of no unreserved character (nor, in a path, of a slash)."""
CANONICAL_PATH: Final = rf"(?:[/A-Za-z0-9._~-]++|{_ESCAPE.format(slash='')})*+"
_UNRESERVED: Final = re.compile(r"[/A-Za-z0-9._~-]*")
_CANONICAL_PATH: Final = re.compile(CANONICAL_PATH)
_CANONICAL_QUERY: Final = re.compile(rf"(?:[=&A-Za-z0-9._~-]++|{_ESCAPE.format(slash='F')})*+")
_DAY: Final = re.compile(r"(\d{4})(\d\d)(\d\d)", re.ASCII)
_SPACES: Final = re.compile(r"[ \t]{2,}|\t")


def encode_path(key: str) -> str:
    """A key (or path) percent-encoded as S3 spells it: everything but unreserved characters and ``/``."""
    return key if _UNRESERVED.fullmatch(key) else quote(key, safe="/~")


def canonical_path(raw_path: str, *, as_sent: bool = False) -> str:
    """The canonical URI of a path, given as it stands in the request."""
    if as_sent or _CANONICAL_PATH.fullmatch(raw_path):
        return raw_path or "/"
    return quote_from_bytes(unquote_to_bytes(raw_path), safe="/~") or "/"


def canonical_query(raw_query: str, *, as_sent: bool = False, without: str = "") -> str:
    """The canonical query string. ``without`` names the one parameter that is left out (the signature's own)."""
    if not raw_query:
        return ""
    if not (as_sent or _CANONICAL_QUERY.fullmatch(raw_query)):
        raw_query = _recoded(raw_query)
    pairs = [pair.partition("=") for pair in raw_query.split("&") if pair]
    if not as_sent:
        pairs = [(name, sign, value.replace("=", "%3D")) for name, sign, value in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted((n, v) for n, _, v in pairs if n != without))


def is_canonical(raw_path: str, raw_query: str) -> bool:
    """Whether both already have S3's spelling, so that ``as_sent`` makes no difference."""
    return bool(_CANONICAL_PATH.fullmatch(raw_path)) and bool(_CANONICAL_QUERY.fullmatch(raw_query))


def canonical_value(value: str) -> str:
    """A header's value without outer space, runs of inner space made one."""
    return _SPACES.sub(" ", value.strip(" \t"))


def canonical_request(
    method: str, path: str, query: str, headers: Mapping[str, str], signed: Iterable[str], payload_hash: str
) -> str:
    """The canonical request. ``path`` and ``query`` are canonical; ``signed`` names are sorted and in ``headers``."""
    lines = "".join([f"{name}:{headers[name]}\n" for name in signed])
    if "  " in lines or "\t" in lines or ": " in lines or " \n" in lines:
        lines = "".join([f"{name}:{canonical_value(headers[name])}\n" for name in signed])
    return f"{method}\n{path}\n{query}\n{lines}\n{';'.join(signed)}\n{payload_hash}"


def string_to_sign(amz_date: str, scope: str, canonical: str) -> str:
    """What the derived key signs."""
    return f"{signing_prefix(amz_date, scope)}{sha256(canonical.encode()).hexdigest()}"


def signing_prefix(amz_date: str, scope: str) -> str:
    """What a string to sign begins with, before the canonical request's SHA-256 in hex."""
    return f"{ALGORITHM}\n{amz_date}\n{scope}\n"


@lru_cache(maxsize=512)
def derived_key(secret_key: str, day: str, region: str, service: str) -> bytes:
    """The key of one day, region and service."""
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def seal(key: bytes, text: str) -> str:
    """HMAC-SHA256 of a string to sign, in hex."""
    return _mac_of(key).hex_of(text.encode())


_mac_of = lru_cache(maxsize=512)(mac_of)


@lru_cache(maxsize=64)
def _day(days: int) -> str:
    return datetime.fromtimestamp(days * DAY_S, UTC).strftime("%Y%m%d")


def format_amz_date(now: float) -> str:
    """``20130524T000000Z`` for a time in seconds since the epoch."""
    days, second = divmod(int(now), DAY_S)
    return f"{_day(days)}T{second // 3600:02}{second // 60 % 60:02}{second % 60:02}Z"


def parse_amz_date(text: str) -> float | None:
    """Seconds since the epoch for ``20130524T000000Z``, or None."""
    clock = text[9:15]
    if len(text) != 16 or text[8] != "T" or text[15] != "Z" or not (clock.isascii() and clock.isdigit()):
        return None
    midnight, hours, minutes, seconds = _midnight(text[:8]), int(clock[:2]), int(clock[2:4]), int(clock[4:])
    if midnight is None or hours > 23 or minutes > 59 or seconds > 59:
        return None
    return midnight + 3600 * hours + 60 * minutes + seconds


@lru_cache(maxsize=64)
def _midnight(day: str) -> float | None:
    found = _DAY.fullmatch(day)
    try:
        return datetime(int(found[1]), int(found[2]), int(found[3]), tzinfo=UTC).timestamp() if found else None
    except ValueError:
        return None


def _recoded_one(raw: str) -> str:
    return quote_from_bytes(unquote_to_bytes(raw.replace("+", " ")), safe="~")


def _recoded(raw_query: str) -> str:
    """Each name and value decoded and encoded again."""
    pairs = [pair.partition("=") for pair in raw_query.split("&") if pair]
    return "&".join(f"{_recoded_one(name)}={_recoded_one(value)}" for name, _, value in pairs)
