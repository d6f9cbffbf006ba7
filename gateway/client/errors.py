"""What reading through the gateway can raise.

Everything is a :class:`GatewayError`, made from its message alone where need be, so that an error survives the way from
a loader's worker process to its parent. ``status`` is HTTP's, 0 when there was no answer; ``code`` is S3's, empty when
the answer carried none (the answer to a HEAD never does). Retries are over when one of these is raised.

``refusal`` is the one place where an answer becomes an exception.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from typing import Final


class GatewayError(Exception):
    """The gateway did not give what was asked for; a leaf says more."""

    def __init__(self, message: str, *, status: int = 0, code: str = "", request_id: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id


class ObjectNotFound(GatewayError):
    """There is no such bucket or key."""


class AccessDenied(GatewayError):
    """The credentials are unknown, do not match, or may not read this."""


class ObjectChanged(GatewayError):
    """The object was replaced while it was read, again and again; no bytes of two versions were mixed."""


class RangeOutside(GatewayError):
    """The asked range lies outside the object."""


class GatewayUnreachable(GatewayError):
    """No whole answer after the last attempt: refused, reset, timed out, or the body ended early."""


KINDS: Final[Mapping[int, type[GatewayError]]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: ObjectNotFound,
    412: ObjectChanged,
    416: RangeOutside,
}


def refusal(status: int, headers: Mapping[str, str], body: bytes, asked: str) -> GatewayError:
    """The exception for an answer of ``status``; ``asked`` says what was asked for, ``body`` is its error document."""
    code = _field(body, "Code")
    said = _field(body, "Message")
    text = f"{asked}: {status} {code}".rstrip() + (f" ({said})" if said else "")
    request_id = headers.get("x-amz-request-id", "") or _field(body, "RequestId")
    return KINDS.get(status, GatewayError)(text, status=status, code=code, request_id=request_id)


def _field(document: bytes, name: str) -> str:
    """One element's text from an S3 error document; empty when it is not there."""
    found = re.search(rb"<%b>([^<]{0,1000})</%b>" % (name.encode(), name.encode()), document[:65536])
    return unescape(found.group(1).decode("utf-8", "replace")) if found else ""
