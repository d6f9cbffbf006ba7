"""What a client repeats with every request, judged once: the lane's short way through the same rules.

An SDK sends the same lines with every read of a connection; only the request line, the date, the range, an invocation
id and the signature differ. A :class:`Habit` is made from a head that went the whole way (``requests.read_head``,
``sigv4.authenticate``); it knows the next one by comparing its other lines, byte for byte. What those lines say (who
asks, with which key, what is signed) then needs no second look, and the canonical request is the canonicaliser's own,
with gaps where heads differ. A habit only ever says yes: a head that it does not know, or whose signature is not right,
goes the whole way, where the words for a refusal are. Sans-IO; a habit belongs to one connection.
"""

from __future__ import annotations

import re
from hmac import compare_digest
from itertools import pairwise
from typing import Final

from gateway.s3.canonical import CANONICAL_PATH, canonical_request, parse_amz_date, seal, string_to_sign
from gateway.s3.requests import HEAD_BYTES_MAX, S3Request, request_of
from gateway.s3.sigv4 import SIGNATURE_CHARACTERS, SIGNATURE_MARK, SKEW_MAX_S, Authenticated, signed_names

_GAP: Final = "\0"
_FIRST: Final = re.compile(rf"(GET|HEAD) (/{CANONICAL_PATH}) HTTP/1\.1")
_DIFFERING: Final = {
    "x-amz-date": re.compile(r"[0-9]{8}T[0-9]{6}Z"),
    "range": re.compile(r"bytes=[0-9]{1,19}-[0-9]{0,19}"),
    "amz-sdk-invocation-id": re.compile(r"[0-9A-Za-z-]+"),
}
"""The headers that differ, and what their values look like when nothing about them needs a closer look."""


class Habit:
    """The habit of whoever sent ``head``, a request that was let in as ``auth`` says.

    ``head`` has a line for each of ``request.headers``, and no query. Raises ValueError for a head that is no habit.
    """

    __slots__ = ("_auth", "_differing", "_domains", "_gaps", "_headers", "_parts", "_runs", "_signed_by", "_size")

    def __init__(self, head: bytes, request: S3Request, auth: Authenticated, domains: tuple[str, ...]) -> None:
        lines = head.decode("ascii").split("\r\n")
        places = {line.partition(":")[0].lower(): place for place, line in enumerate(lines[1:-2], 1)}
        authorization = places["authorization"]
        told, mark, _ = lines[authorization].rpartition(SIGNATURE_MARK)
        known = {name: places[name] for name in _DIFFERING if name in places}
        if "x-amz-date" not in known or not all(_DIFFERING[name].fullmatch(request.headers[name]) for name in known):
            raise ValueError("the head has something odd about it")
        self._auth = auth
        self._domains = domains
        self._size = len(lines)
        value_at = len(lines[authorization]) - len(request.headers["authorization"])
        self._signed_by = authorization, told + mark, len(told + mark), value_at
        self._differing = tuple(
            (name, place, lines[place][: -len(request.headers[name])], len(lines[place]) - len(request.headers[name]))
            for name, place in known.items()
        )
        self._runs = _runs(lines, {0, authorization, *known.values()})
        self._headers = dict(request.headers)
        signed = signed_names(request.headers["authorization"])
        gapped = self._headers | dict.fromkeys(known, _GAP)
        canonical = canonical_request(_GAP, _GAP, "", gapped, signed, request.headers["x-amz-content-sha256"])
        self._parts = re.split(f"({_GAP})", canonical)
        self._gaps = tuple((5 + 2 * nth, name) for nth, name in enumerate(name for name in signed if name in known))

    def recognise(self, head: bytes) -> S3Request | None:
        """The request, if its head differs from the first one only where heads of this habit do.

        Raises S3Error as ``request_of``.
        """
        if len(head) > HEAD_BYTES_MAX or not head.isascii():
            return None
        lines = head.decode("ascii").split("\r\n")
        if len(lines) != self._size:
            return None
        for start, stop, run in self._runs:
            if lines[start:stop] != run:
                return None
        place, told, length, value_at = self._signed_by
        first, authorization = _FIRST.fullmatch(lines[0]), lines[place]
        if first is None or authorization[:length] != told or len(authorization) != length + SIGNATURE_CHARACTERS:
            return None
        headers = self._headers.copy()
        headers["authorization"] = authorization[value_at:]
        for name, place, before, length in self._differing:
            line = lines[place]
            value = headers[name] = line[length:]
            if line[:length] != before or not _DIFFERING[name].fullmatch(value):
                return None
        return request_of(first[1], first[2].encode("ascii"), headers, self._domains)

    def let_in(self, request: S3Request, now: float) -> Authenticated | None:
        """Whether the recognised request is signed as it must be at ``now`` (seconds since the epoch)."""
        auth, headers = self._auth, request.headers
        amz_date, signature = headers["x-amz-date"], headers["authorization"][-SIGNATURE_CHARACTERS:]
        signed_at = parse_amz_date(amz_date)
        if signed_at is None or amz_date[:8] != auth.amz_date[:8] or abs(now - signed_at) > SKEW_MAX_S:
            return None
        parts = self._parts.copy()
        parts[1], parts[3] = request.method, request.raw_path.decode("ascii")
        for place, name in self._gaps:
            parts[place] = headers[name]
        told = string_to_sign(amz_date, auth.scope, "".join(parts))
        if not compare_digest(seal(auth.signing_key, told), signature):
            return None
        return Authenticated(
            auth.access_key, auth.payload, auth.payload_hash, signature, amz_date, auth.scope, auth.signing_key
        )


def habit_of(head: bytes, request: S3Request, auth: Authenticated, domains: tuple[str, ...]) -> Habit | None:
    """The habit that the head shows, if it is one at all: signed by its headers, without a query."""
    if request.query or "authorization" not in request.headers:
        return None
    try:
        return Habit(head, request, auth, domains)
    except ValueError:
        return None


def _runs(lines: list[str], without: set[int]) -> tuple[tuple[int, int, list[str]], ...]:
    """The lines in runs that leave those numbers out: (start, stop, lines)."""
    cuts = [-1, *sorted(without), len(lines)]
    return tuple((start + 1, stop, lines[start + 1 : stop]) for start, stop in pairwise(cuts) if stop > start + 1)
