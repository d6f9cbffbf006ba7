"""aws-chunked bodies: bytes in, verified payload out; and the frame for sending a body on with trailers.

``hex-size[;chunk-signature=sig]CRLF data CRLF`` repeats until size 0, then trailers and an empty line. In the signed
modes each chunk's signature chains on the one before, from the request's own; a chunk's bytes come out only when its
signature is right, so a chunk is held and has a size limit. The piece that completes the announced length comes out
only when everything after it (last chunk, trailers, their signature) is right too: whoever forwards can never complete
an upload that fails at its end. The decoder is a machine without input or output of its own: feed it until ``done``,
then ``close``. "Signature calculations for the authorization header: transferring payload in multiple chunks" and
"… with trailing headers" of the Amazon S3 API reference.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from hashlib import sha256
from typing import Final

from gateway.s3.canonical import ALGORITHM, seal
from gateway.s3.errors import S3Error
from gateway.s3.requests import S3Request
from gateway.s3.sigv4 import EMPTY_SHA256, Authenticated, PayloadMode

LINE_BYTES_MAX: Final = 8 * 1024
SIGNED_CHUNK_BYTES_MAX: Final = 4 * 1024 * 1024
TRAILERS_MAX: Final = 16
BODY_BYTES_MAX: Final = 5 * 1024**4

_CHUNK_LINE: Final = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?")
_TRAILER_LINE: Final = re.compile(rb"([A-Za-z0-9-]+):[ \t]*([\x21-\x7e]*)[ \t]*\n?")
_TRAILER_SIGNATURE: Final = "x-amz-trailer-signature"
_SIGNED: Final = frozenset({PayloadMode.SIGNED_CHUNKS, PayloadMode.SIGNED_CHUNKS_TRAILER})
_WITH_TRAILER: Final = frozenset({PayloadMode.SIGNED_CHUNKS_TRAILER, PayloadMode.UNSIGNED_TRAILER})


class _State(Enum):
    """What comes next."""

    LINE = "a chunk line"
    DATA = "chunk data"
    DATA_END = "the end of chunk data"
    TRAILER = "a trailer or the end"
    DONE = "nothing"


def decoded_length(request: S3Request) -> int:
    """The announced payload length in bytes. Raises S3Error MissingContentLength, InvalidArgument, EntityTooLarge."""
    text = request.headers.get("x-amz-decoded-content-length")
    if text is None:
        raise S3Error("MissingContentLength", "You must provide x-amz-decoded-content-length.")
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise S3Error("InvalidArgument", "x-amz-decoded-content-length must be a number of bytes.")
    if int(text) > BODY_BYTES_MAX:
        raise S3Error("EntityTooLarge")
    return int(text)


def announced_trailers(request: S3Request) -> tuple[str, ...]:
    """The lower-case trailer names of x-amz-trailer. Raises S3Error InvalidRequest for too many."""
    names = request.headers.get("x-amz-trailer", "").lower().split(",")
    found = tuple(name.strip() for name in names if name.strip())
    if len(found) > TRAILERS_MAX:
        raise S3Error("InvalidRequest", "x-amz-trailer names too many trailers.")
    return found


class ChunkedDecoder:
    """Decodes one aws-chunked body of exactly ``length`` payload bytes, sent by an authenticated request.

    ``trailers`` are the names that must follow. Without ``verify`` (a gateway that authenticates nobody) signatures are
    parsed and stand for nothing. Any S3Error from it ends the body; the decoder is of no use then.
    """

    def __init__(self, auth: Authenticated, length: int, trailers: Iterable[str] = (), *, verify: bool = True) -> None:
        self.trailers: dict[str, str] = {}
        self._auth, self._length, self._allowed = auth, length, frozenset(trailers)
        self._signed, self._with_trailer = auth.payload in _SIGNED, auth.payload in _WITH_TRAILER
        self._verifies = verify
        self._state = _State.LINE
        self._rest = b""
        self._left = 0
        self._received = 0
        self._previous = auth.signature
        self._claimed = ""
        self._trailer_claimed = ""
        self._hash = sha256()
        self._held: list[bytes] = []
        self._last: list[bytes] = []

    @property
    def done(self) -> bool:
        """Whether the body is complete and right; ``trailers`` are known then."""
        return self._state is _State.DONE

    def feed(self, data: bytes) -> list[bytes]:
        """The payload that is now known to be right. Raises S3Error (InvalidRequest, SignatureDoesNotMatch, …)."""
        data = self._rest + data if self._rest else data
        self._rest = b""
        out: list[bytes] = []
        position, end = 0, len(data)
        while position < end:
            if self._state is _State.DATA:
                position = self._take_data(data, position, out)
                continue
            line_end = self._find_line_end(data, position)
            if line_end < 0:
                self._rest = data[position:]
                break
            self._take_line(data[position:line_end], out)
            position = line_end + 2
        return out

    def close(self) -> list[bytes]:
        """The body has ended: what was still held back. Raises S3Error IncompleteBody unless it is complete."""
        out: list[bytes] = []
        if self._state is _State.TRAILER and not self._rest and self._with_trailer and self.trailers:
            self._finish(out)  # the final empty line is missing, as in older clients; all there was to check is here
        if not self.done:
            raise S3Error("IncompleteBody")
        return out

    def _find_line_end(self, data: bytes, position: int) -> int:
        if self._state is _State.DONE:
            raise S3Error("InvalidRequest", "There are bytes after the last chunk.")
        found = data.find(b"\r\n", position, position + LINE_BYTES_MAX + 2)
        if found < 0 and len(data) - position > LINE_BYTES_MAX + 1:
            raise S3Error("InvalidRequest", "A chunk line is too long.")
        return found

    def _take_line(self, line: bytes, out: list[bytes]) -> None:
        if self._state is _State.LINE:
            self._begin_chunk(line)
        elif self._state is _State.DATA_END:
            self._end_chunk(line, out)
        elif line:
            self._take_trailer(line)
        elif self.trailers or not (self._with_trailer and self._allowed):
            self._finish(out)
        # else: an empty line between the last chunk and the first trailer, which some clients send

    def _begin_chunk(self, line: bytes) -> None:
        found = _CHUNK_LINE.fullmatch(line)
        if found is None or (found[2] is not None) != self._signed:
            raise S3Error("InvalidRequest", "A chunk line is malformed.")
        size = int(found[1], 16)
        if self._signed and size > SIGNED_CHUNK_BYTES_MAX:
            raise S3Error("InvalidRequest", f"A signed chunk may have {SIGNED_CHUNK_BYTES_MAX} bytes at most.")
        if self._received + size > self._length or (size == 0 and self._received != self._length):
            raise S3Error("IncompleteBody", "The chunks do not add up to x-amz-decoded-content-length.")
        self._claimed = found[2].decode() if found[2] is not None else ""
        self._left = size
        self._state = _State.DATA if size else _State.TRAILER
        if not size and self._signed:
            self._verify(EMPTY_SHA256)

    def _take_data(self, data: bytes, position: int, out: list[bytes]) -> int:
        """Take what belongs to the chunk; where the rest begins."""
        whole = position == 0 and len(data) <= self._left
        piece = data if whole else data[position : position + self._left]
        self._left -= len(piece)
        self._received += len(piece)
        if self._signed:
            self._hash.update(piece)
            self._held.append(piece)
        else:
            self._release([piece], out)
        if not self._left:
            self._state = _State.DATA_END
        return position + len(piece)

    def _end_chunk(self, line: bytes, out: list[bytes]) -> None:
        if line:
            raise S3Error("InvalidRequest", "Chunk data does not end where its line said.")
        self._state = _State.LINE
        if self._signed:
            self._verify(self._hash.hexdigest())
            self._hash = sha256()
            self._release(self._held, out)
            self._held = []

    def _release(self, pieces: list[bytes], out: list[bytes]) -> None:
        """Let pieces out, unless they complete the body."""
        (self._last if self._received == self._length else out).extend(pieces)

    def _verify(self, payload_hash: str) -> None:
        if not self._verifies:
            return
        auth = self._auth
        self._previous = _checked(
            auth,
            f"{ALGORITHM}-PAYLOAD\n{auth.amz_date}\n{auth.scope}\n{self._previous}\n{EMPTY_SHA256}\n{payload_hash}",
            self._claimed,
        )

    def _take_trailer(self, line: bytes) -> None:
        found = _TRAILER_LINE.fullmatch(line)
        if found is None or not self._with_trailer or self._trailer_claimed:
            raise S3Error("MalformedTrailerError")
        name, value = found[1].decode().lower(), found[2].decode()
        if name == _TRAILER_SIGNATURE and self._signed:
            self._trailer_claimed = value
        elif name not in self._allowed or name in self.trailers:
            raise S3Error("MalformedTrailerError")
        else:
            self.trailers[name] = value

    def _finish(self, out: list[bytes]) -> None:
        """Everything has come: check what is left to check, then let the last piece out."""
        if self._allowed - self.trailers.keys():
            raise S3Error("MalformedTrailerError", "An announced trailer is missing.")
        if self._signed and self._with_trailer and self._verifies:
            auth, lines = self._auth, "".join(f"{name}:{value}\n" for name, value in self.trailers.items())
            digest = sha256(lines.encode()).hexdigest()
            told = f"{ALGORITHM}-TRAILER\n{auth.amz_date}\n{auth.scope}\n{self._previous}\n{digest}"
            _checked(auth, told, self._trailer_claimed)
        self._state = _State.DONE
        out.extend(self._last)
        self._last = []


def _checked(auth: Authenticated, told: str, claimed: str) -> str:
    """The signature of a string, which must be the claimed one. Raises S3Error SignatureDoesNotMatch."""
    signature = seal(auth.signing_key, told)
    if not hmac.compare_digest(signature.encode(), claimed.encode()):
        raise S3Error("SignatureDoesNotMatch", "A chunk's signature does not match.")
    return signature


def open_frame(length: int) -> bytes:
    """What goes before a payload of ``length`` bytes that is sent as one unsigned chunk."""
    return b"%x\r\n" % length if length else b""


def close_frame(length: int, trailers: Mapping[str, str]) -> bytes:
    """What goes after it: the last chunk, the trailers, the end."""
    lines = "".join(f"{name}:{value}\r\n" for name, value in trailers.items())
    return (b"\r\n" if length else b"") + b"0\r\n" + lines.encode() + b"\r\n"


def framed_length(length: int, trailer_lengths: Mapping[str, int]) -> int:
    """Bytes of the whole frame, for Content-Length; ``trailer_lengths`` says how long each trailer's value will be."""
    around = len(open_frame(length)) + len(close_frame(length, {}))
    return around + length + sum(len(name) + 1 + size + 2 for name, size in trailer_lengths.items())
