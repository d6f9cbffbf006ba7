"""Identities: access key -> secret, rights, and what the meter should know about its holder.

They come from a TOML file of ``[[identity]]`` tables, each with ``[[identity.grants]]``: globs for buckets, literal
prefixes for keys, and what is allowed there. Nothing is allowed that no grant names. A listing is held against its
``prefix``, so a grant limited to a prefix lists only beneath it; "visit" (is the bucket there, and where?) follows from
any grant on the bucket. The file is read at start; a mistake is one line that names the key and the fix. Secrets never
appear in a repr. :func:`generate_identities` writes the first file, readable by its owner alone.
"""

from __future__ import annotations

import os
import re
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any, Final, Literal

from gateway.quantities import parse_rate

Permission = Literal["read", "write", "list", "visit"]

ALLOWABLE: Final = frozenset({"read", "write", "list"})
_ACCESS_KEY: Final = re.compile(r"[A-Za-z0-9_.+=@-]{3,128}")
_KEYS: Final = frozenset(
    {"access_key", "secret_key", "session_token", "name", "job", "rank", "gpus", "target", "grants"}
)
_GRANT_KEYS: Final = frozenset({"buckets", "prefixes", "allow"})


class IdentitiesError(ValueError):
    """The identities cannot be used; the message is one line with the place and the fix."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What is allowed where: bucket globs, literal key prefixes, permissions."""

    buckets: tuple[str, ...]
    prefixes: tuple[str, ...]
    allow: frozenset[str]
    _bucket: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_bucket", re.compile("|".join(map(translate, self.buckets))))

    def covers(self, permission: Permission, bucket: str, key: str) -> bool:
        """Whether this grant allows it. ``key`` is the prefix for "list"; "visit" needs no more than the bucket."""
        if not self._bucket.match(bucket):
            return False
        return permission == "visit" or (permission in self.allow and key.startswith(self.prefixes))


@dataclass(frozen=True, slots=True)
class Identity:
    """Who holds an access key. ``target`` is in bytes per second and GPU; None: the node's default."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    name: str = ""
    job: str = ""
    rank: str = ""
    gpus: int = 0
    target: float | None = None
    grants: tuple[Grant, ...] = ()
    everywhere: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        unlimited = [grant.allow for grant in self.grants if "*" in grant.buckets and "" in grant.prefixes]
        object.__setattr__(self, "everywhere", frozenset().union(*unlimited))

    def may(self, permission: Permission, bucket: str, key: str) -> bool:
        """Whether the holder may "read", "write" (a key), "list" (a prefix; bucket ``*``: all buckets), "visit"."""
        return permission in self.everywhere or any(grant.covers(permission, bucket, key) for grant in self.grants)


class Identities:
    """All identities, by access key. Raises IdentitiesError when two share one."""

    def __init__(self, identities: Iterable[Identity]) -> None:
        self._by_key: dict[str, Identity] = {}
        for identity in identities:
            if identity.access_key in self._by_key:
                raise IdentitiesError(f"access_key {identity.access_key!r} is given twice: remove one")
            self._by_key[identity.access_key] = identity

    def find(self, access_key: str) -> Identity | None:
        """The holder of that key, or None."""
        return self._by_key.get(access_key)

    def all(self) -> tuple[Identity, ...]:
        """Every identity, in the order of the file."""
        return tuple(self._by_key.values())


def load_identities(path: str) -> Identities:
    """Read the file. Raises IdentitiesError, whatever is wrong with it."""
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise IdentitiesError(f"{path}: {error.strerror}: set identities.file to a readable TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise IdentitiesError(f"{path}: not valid TOML: {error}") from error
    try:
        return parse_identities(document)
    except IdentitiesError as error:
        raise IdentitiesError(f"{path}: {error}") from None


def parse_identities(document: Mapping[str, Any]) -> Identities:
    """Identities from a parsed document. Raises IdentitiesError."""
    _no_others(document, frozenset({"identity"}), "the file")
    tables = document.get("identity")
    if not isinstance(tables, list) or not tables:
        raise IdentitiesError("no [[identity]] table: add one with access_key, secret_key and [[identity.grants]]")
    return Identities(_parse_identity(table, f"identity {index}") for index, table in enumerate(tables, 1))


def generate_identities(path: str) -> Identity:
    """Write a new file with one identity that may do everything, mode 0600; the identity.

    Raises FileExistsError when there is a file, OSError when it cannot be written.
    """
    identity = Identity(
        access_key="FB" + secrets.token_hex(9).upper(),
        secret_key=secrets.token_urlsafe(30),
        name="owner",
        grants=(Grant(("*",), ("",), ALLOWABLE),),
    )
    text = (
        "# Who may use this gateway. Generated once; yours to edit.\n\n[[identity]]\n"
        f'access_key = "{identity.access_key}"\nsecret_key = "{identity.secret_key}"\nname = "{identity.name}"\n\n'
        '[[identity.grants]]\nbuckets = ["*"]\nprefixes = [""]\nallow = ["read", "write", "list"]\n'
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return identity


def _parse_identity(table: object, where: str) -> Identity:
    if not isinstance(table, dict):
        raise IdentitiesError(f"{where}: must be a table: write [[identity]]")
    _no_others(table, _KEYS, where)
    access_key = _text(table, "access_key", where)
    if not _ACCESS_KEY.fullmatch(access_key):
        raise IdentitiesError(f"{where}: access_key must be 3 to 128 letters, digits or _.+=@-")
    secret_key = _text(table, "secret_key", where)
    if len(secret_key) < 8:
        raise IdentitiesError(f"{where}: secret_key must have at least 8 characters")
    return Identity(
        access_key,
        secret_key,
        session_token=_text(table, "session_token", where),
        name=_text(table, "name", where) or access_key[:8],
        job=_text(table, "job", where),
        rank=_text(table, "rank", where),
        gpus=_gpus(table, where),
        target=_target(table, where),
        grants=_grants(table, where),
    )


def _grants(table: Mapping[str, Any], where: str) -> tuple[Grant, ...]:
    found = table.get("grants", [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found) or not found:
        raise IdentitiesError(f"{where}: grants missing: add [[identity.grants]] with buckets, prefixes and allow")
    return tuple(_parse_grant(one, f"{where}, grant {index}") for index, one in enumerate(found, 1))


def _parse_grant(table: Mapping[str, Any], where: str) -> Grant:
    _no_others(table, _GRANT_KEYS, where)
    buckets = _texts(table, "buckets", ("*",), where)
    prefixes = _texts(table, "prefixes", ("",), where)
    allow = frozenset(_texts(table, "allow", (), where))
    if not allow or not allow <= ALLOWABLE:
        raise IdentitiesError(f'{where}: allow must be some of "read", "write", "list"')
    return Grant(buckets, prefixes, allow)


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table.get(key, "")
    if isinstance(value, int) and not isinstance(value, bool) and key == "rank":
        return str(value)
    if not isinstance(value, str):
        raise IdentitiesError(f'{where}: {key} must be text: write {key} = "..."')
    return value


def _texts(table: Mapping[str, Any], key: str, default: tuple[str, ...], where: str) -> tuple[str, ...]:
    value = table.get(key, list(default))
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise IdentitiesError(f'{where}: {key} must be a list of text: write {key} = ["..."]')
    return tuple(value)


def _gpus(table: Mapping[str, Any], where: str) -> int:
    value = table.get("gpus", 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 100_000:
        raise IdentitiesError(f"{where}: gpus must be a whole number from 0 to 100000")
    return value


def _target(table: Mapping[str, Any], where: str) -> float | None:
    text = _text(table, "target", where)
    try:
        return parse_rate(text) if text else None
    except ValueError:
        raise IdentitiesError(f'{where}: target must be a rate: write target = "7GB/s"') from None


def _no_others(table: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    """Refuse keys that nobody reads: a misspelt one would silently do nothing."""
    others = sorted(table.keys() - known)
    if others:
        raise IdentitiesError(f"{where}: unknown key {others[0]!r}: known are {', '.join(sorted(known))}")
