"""What a client repeats with every request, judged once: the lane's short way through the same rules.

An SDK sends the same lines with every read; only the request line, the date, the range, an invocation id and the
signature differ. A :class:`Habit` is made from a head that went the whole way (``requests.read_head``,
``sigv4.authenticate``); it knows the next one by comparing all other bytes. What those say (who asks, with which key,
what is signed) then needs no second look, and the canonical request is the canonicaliser's own, with gaps where heads
differ. A habit only ever says yes: a head that it does not know, or whose signature is not right, goes the whole way,
where the words for a refusal are. Sans-IO; one habit serves every connection whose heads show it.
"""

from __future__ import annotations

import re
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from cache.macs import mac_of
from gateway.s3.canonical import CANONICAL_PATH, canonical_request, parse_amz_date, signing_prefix
from gateway.s3.requests import HEAD_BYTES_MAX, S3Request, request_of
from gateway.s3.sigv4 import SIGNATURE_CHARACTERS, SIGNATURE_MARK, SKEW_MAX_S, Authenticated, signed_names

HABIT_BYTES_MAX: Final = 4096  # of a head: whoever sends longer ones costs memory, and gains little
_GAP: Final = "\0"
_HTTP: Final = b" HTTP/1.1\r\n"
_ASKED: Final = re.compile(rf"(GET|HEAD) (/{CANONICAL_PATH})".encode())
_AUTHORIZATION: Final = "authorization"
_DATE: Final = "x-amz-date"
_RANGE: Final = "range"
_INVOCATION: Final = "amz-sdk-invocation-id"
_DIFFERING: Final = {
    _AUTHORIZATION: re.compile(rb".*" + SIGNATURE_MARK.encode() + rb"[0-9a-f]{64}"),
    _DATE: re.compile(rb"[0-9]{8}T[0-9]{6}Z"),
    _RANGE: re.compile(rb"bytes=[0-9]{1,19}-[0-9]{0,19}"),
    _INVOCATION: re.compile(rb"[0-9A-Za-z-]+"),
}
"""The headers that differ, and what their values look like when nothing about them needs a closer look."""
_OF_ANY_LENGTH: Final = frozenset({_RANGE, _INVOCATION})
_OF_AN_ID: Final = bytes(byte for byte in range(128) if chr(byte).isalnum() or byte == 45)

Shown = list[bytes]
"""What a head has of its own: method and path, then the values that differ, in the order of its lines."""


class Habit:
    """The habit of whoever sent ``head``, a request that was let in as ``auth`` says (None: nobody was authenticated).

    ``head`` has a line for each of ``request.headers``, and no query. Raises ValueError for a head that is no habit.
    """

    __slots__ = (
        "_auth", "_domains", "_gaps", "_headers", "_id", "_names", "_newlines", "_parts", "_pieces", "_range", "_rest",
        "_seal", "_signed_by", "_told", "_unread",
    )  # fmt: skip

    def __init__(self, head: bytes, request: S3Request, auth: Authenticated | None, domains: tuple[str, ...]) -> None:
        self._names, self._pieces, self._rest = _taken_apart(head, request)
        self._newlines = head.count(b"\n")
        self._headers = dict(request.headers)
        self._domains = domains
        self._auth = auth
        places = {name: place for place, name in enumerate(self._names, 1)}
        self._range, self._id = places.get(_RANGE, 0), places.get(_INVOCATION, 0)
        self._unread = tuple(place for name, place in places.items() if name not in _OF_ANY_LENGTH)
        if auth is not None:
            self._signed_by = places[_AUTHORIZATION], places[_DATE]
            self._seal = mac_of(auth.signing_key)
            self._told = b"", 0.0, self._seal  # the date last seen, in seconds, and the seal of all that begins with it
            signed = signed_names(request.headers[_AUTHORIZATION])
            gapped = self._headers | dict.fromkeys(places, _GAP)
            canonical = canonical_request(_GAP, _GAP, "", gapped, signed, request.headers["x-amz-content-sha256"])
            _, _, *after = canonical.encode().split(_GAP.encode())
            self._parts = [part for each in after for part in (b"", each)]
            self._gaps = tuple((2 * nth, places[name]) for nth, name in enumerate(filter(places.get, signed), 1))

    @property
    def constant(self) -> bytes:
        """All that heads of this habit have in common: where it is the same, the habit is."""
        return b"\0".join([*(b"%b\0%d" % (before, length) for before, _, length in self._pieces), self._rest])

    def recognise(self, head: bytes) -> Shown | None:
        """What is the head's own, if it differs from the first one only where heads of this habit do."""
        at = head.find(_HTTP)
        if at < 0 or head.count(b"\n") != self._newlines or len(head) > HEAD_BYTES_MAX:
            return None
        shown = [head[:at]]
        for before, size, length in self._pieces:
            if not head.startswith(before, at):
                return None
            at += size
            stop = at + length if length else head.find(b"\r", at)
            shown.append(head[at:stop])
            at = stop
        odd = self._id and shown[self._id].translate(None, _OF_AN_ID)
        return shown if not odd and head[at:] == self._rest else None

    def sealed(self, shown: Shown, now: float) -> bool:
        """Whether what was recognised is signed as it must be at ``now`` (seconds since the epoch)."""
        if self._auth is None:
            return not any(shown[place].translate(None, _OF_AN_ID) for place in self._unread)
        by, at = self._signed_by
        if shown[at] != self._told[0] and not self._tell(self._auth, shown[at]):
            return False
        _, signed_at, seal = self._told
        if abs(now - signed_at) > SKEW_MAX_S:
            return False
        parts = self._parts.copy()
        parts[0] = shown[0].replace(b" ", b"\n", 1)
        for place, name in self._gaps:
            parts[place] = shown[name]
        hashed = sha256(b"".join(parts)).hexdigest()
        return compare_digest(seal.hex_of(hashed.encode()).encode(), shown[by])

    def _tell(self, auth: Authenticated, date: bytes) -> bool:
        """Note another date; False: it is none, or of another day than the signing key."""
        amz_date = date.decode("ascii", "replace")
        signed_at = parse_amz_date(amz_date)
        if signed_at is None or amz_date[:8] != auth.amz_date[:8]:
            return False
        self._told = date, signed_at, self._seal.after(signing_prefix(amz_date, auth.scope).encode())
        return True

    def asked(self, shown: Shown) -> tuple[bytes, bytes]:
        """What the head asks for, in its own words: method and path, and the range if any."""
        return shown[0], shown[self._range] if self._range else b""

    def request(self, shown: Shown) -> S3Request | None:
        """The request; None where its words need a closer look. Raises S3Error as ``request_of``."""
        asked = _ASKED.fullmatch(shown[0])
        if asked is None or (self._range and not _DIFFERING[_RANGE].fullmatch(shown[self._range])):
            return None
        headers = self._headers.copy()
        for name, value in zip(self._names, shown[1:], strict=True):
            told = headers[name][:-SIGNATURE_CHARACTERS] if name == _AUTHORIZATION else ""
            headers[name] = told + value.decode("ascii")
        return request_of(asked[1].decode(), asked[2], headers, self._domains)

    def authenticated(self, shown: Shown) -> Authenticated | None:
        """Who sent what was recognised and sealed; None: nobody was authenticated."""
        auth = self._auth
        if auth is None:
            return None
        by, at = self._signed_by
        signature, amz_date = shown[by].decode("ascii"), shown[at].decode("ascii")
        return Authenticated(
            auth.access_key, auth.payload, auth.payload_hash, signature, amz_date, auth.scope, auth.signing_key
        )


def habit_of(head: bytes, request: S3Request, auth: Authenticated | None, domains: tuple[str, ...]) -> Habit | None:
    """The habit that the head shows, if it is one at all: signed by its headers if it must be, without a query."""
    signed = auth is None or _AUTHORIZATION in request.headers
    if request.query or not signed or len(head) > HABIT_BYTES_MAX:
        return None
    try:
        return Habit(head, request, auth, domains)
    except (ValueError, KeyError):
        return None


def _taken_apart(head: bytes, request: S3Request) -> tuple[tuple[str, ...], tuple[tuple[bytes, int, int], ...], bytes]:
    """Names of the headers that differ; for each the bytes before its value, how many, the value's length; the rest.

    A length of 0: it ends where its line does. Raises ValueError for a value that needs a closer look.
    """
    names, pieces, before = list[str](), list[tuple[bytes, int, int]](), _HTTP
    for line in head.split(b"\r\n")[1:-2]:
        name = line.partition(b":")[0].decode("ascii").lower()
        form = _DIFFERING.get(name)
        if form is None:
            before += line + b"\r\n"
            continue
        value = request.headers[name].encode("ascii")
        if not line.endswith(value) or not form.fullmatch(value):
            raise ValueError(f"{name} needs a closer look")
        if name == _AUTHORIZATION:
            value = value[-SIGNATURE_CHARACTERS:]
        before += line[: -len(value)]
        names.append(name)
        pieces.append((before, len(before), 0 if name in _OF_ANY_LENGTH else len(value)))
        before = b"\r\n"
    return tuple(names), tuple(pieces), before + b"\r\n"
