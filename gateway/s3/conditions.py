"""Conditional requests, judged against what the object is now.

The order is RFC 9110's (13.2.2), as S3 has it: If-Match, else If-Unmodified-Since; then If-None-Match, else
If-Modified-Since; last If-Range. If-Match and If-Range compare strongly, If-None-Match weakly. An ETag may come without
its quotes, as boto users often send it. A date that does not parse counts as absent. Dates have whole seconds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import lru_cache
from typing import Final

from gateway.s3.requests import S3Request

DATE_CHARACTERS_MAX: Final = 64

_CONDITIONS: Final = frozenset(
    {"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"},
)
_ETAG: Final = re.compile(r"""[\s,]*((?:W/)?"[^"]*"|[^\s,"]+)[\s,]*""")


class Verdict(Enum):
    """What the conditions of a request make of it."""

    PROCEED = "proceed"
    NOT_MODIFIED = "not modified"
    PRECONDITION_FAILED = "precondition failed"
    IGNORE_RANGE = "ignore range"


def is_conditional(request: S3Request) -> bool:
    """Whether there is anything to judge."""
    return not _CONDITIONS.isdisjoint(request.headers)


def judge_conditions(request: S3Request, etag: str, last_modified: str) -> Verdict:
    """The verdict for a GET or HEAD of an object with that ETag and Last-Modified (either may be empty)."""
    headers = request.headers
    if not is_conditional(request):
        return Verdict.PROCEED
    if not _may_proceed(headers, etag, last_modified):
        return Verdict.PRECONDITION_FAILED
    if _is_known(headers, etag, last_modified):
        return Verdict.NOT_MODIFIED
    if "if-range" in headers and "range" in headers and not _same(headers["if-range"], etag, last_modified):
        return Verdict.IGNORE_RANGE
    return Verdict.PROCEED


def _may_proceed(headers: dict[str, str], etag: str, last_modified: str) -> bool:
    if "if-match" in headers:
        return _names(headers["if-match"], etag, weakly=False)
    limit, changed = _date(headers.get("if-unmodified-since", "")), _date(last_modified)
    return limit is None or changed is None or changed <= limit


def _is_known(headers: dict[str, str], etag: str, last_modified: str) -> bool:
    """Whether the client already has what it asks for."""
    if "if-none-match" in headers:
        return _names(headers["if-none-match"], etag, weakly=True)
    since, changed = _date(headers.get("if-modified-since", "")), _date(last_modified)
    return since is not None and changed is not None and changed <= since


def _same(condition: str, etag: str, last_modified: str) -> bool:
    """If-Range: an ETag that matches strongly, or the very date of Last-Modified."""
    date = _date(condition)
    return date == _date(last_modified) if date is not None else _names(condition, etag, weakly=False)


def _names(condition: str, etag: str, *, weakly: bool) -> bool:
    """Whether a list of ETags, or ``*``, names this one."""
    if condition.strip() == "*":
        return True
    given = _ETAG.findall(condition)
    if weakly:
        return _opaque(etag) in {_opaque(one) for one in given}
    return not etag.startswith("W/") and _opaque(etag) in {_opaque(one) for one in given if not one.startswith("W/")}


def _opaque(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


def _date(text: str) -> datetime | None:
    """An HTTP date, or None."""
    return _parse_date(text) if 0 < len(text) <= DATE_CHARACTERS_MAX else None


@lru_cache(maxsize=1024)
def _parse_date(text: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed
