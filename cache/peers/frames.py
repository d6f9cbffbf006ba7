"""Frames: how two workers talk over one connection.

A frame is a 4-byte big-endian length, a body of that length (one message in msgpack, told apart by its tag), and, once
the handshake has given keys, a 16-byte truncated HMAC-SHA256 over sequence number, length and body. Each direction has
its own key and counts its own frames, so a frame cannot be repeated, reordered, or carried to another connection. A
:class:`Units` frame is followed by ``length`` raw bytes: a run of units, each covered by its hash in the frame.

The reader owns its memory: the shell asks ``buffer()`` where the next bytes go, reports them with ``received()`` and
pulls messages with ``next()``, the units of a run with ``next_unit()``; their bytes land in the window without a copy.
Units need not be received: the shell may look ahead (``ahead()``) at as many as the window holds and report those that
it has seen (``seen()``). However bytes are cut, the same messages and units come out; whatever the bytes, the only
error is :class:`BadFrame`, after which the connection must close. A length beyond the limit is refused before memory is
taken for it.
"""

from __future__ import annotations

import hmac
import mmap
from typing import Final

import msgspec

from cache.chunks import UNIT_BYTES
from cache.faults import PeerLied
from cache.macs import Mac, mac_of

PROTOCOL: Final = 2
LENGTH_BYTES: Final = 4
MAC_BYTES: Final = 16
HANDSHAKE_BYTES_MAX: Final = 1024
REQUEST_BYTES_MAX: Final = 512 * 1024
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
REFS_MAX: Final = 1000
RUN_UNITS_MAX: Final = 64

_STAGE_BYTES: Final = 4096  # one read of control frames; at most this much of a unit is copied


class BadFrame(PeerLied):
    """Bytes that are no frame of this protocol here and now."""


class _Message(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    pass


class ServerHello(_Message, tag=1):
    """First words of whoever accepted: protocol and 16 fresh random bytes."""

    protocol: int
    nonce: bytes


class ClientHello(_Message, tag=2):
    """The caller's: its nonce, its node, the node that it believes it called, and the proof that it has the secret."""

    protocol: int
    nonce: bytes
    node_id: str
    peer_id: str
    proof: bytes


class ServerProof(_Message, tag=3):
    """The accepting side has the secret too. From here on frames carry a MAC."""

    proof: bytes


class AskChunk(_Message, tag=16):
    """Bytes [start, stop) of a chunk; ``same_node``: only where its file is, and how far."""

    origin: str
    bucket: str
    key: str
    etag: str
    size: int
    version_id: str
    chunk_bytes: int
    index: int
    start: int
    stop: int
    same_node: bool


class Invalidate(_Message, tag=17):
    """Forget what is known of these keys: (bucket, key, version id), at most REFS_MAX."""

    refs: list[tuple[str, str, str]]


class AskLease(_Message, tag=18):
    """Renew my lease. ``standing`` is the last one after which I distrusted all that I knew (0: none)."""

    standing: int


class AskStatus(_Message, tag=19):
    """Your status document."""


class LookUp(_Message, tag=20):
    """What does this key hold? You own its first chunk. An answer up to ``age_max_s`` old will do."""

    bucket: str
    key: str
    version_id: str
    checksums: bool
    age_max_s: float


class Waiting(_Message, tag=33):
    """The chunk is being looked for, or nothing has come to send yet; I live."""


class Units(_Message, tag=34):
    """Units of the chunk from ``index`` on: ``length`` bytes follow, of these xxh3-64. The span's last is the end."""

    index: int
    length: int
    hashes: tuple[int, ...]


class Failed(_Message, tag=36):
    """Instead of the rest: the fault, by name, with its values."""

    kind: str
    text: str = ""
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class Filling(_Message, tag=37):
    """The chunk is being filled into this file; :class:`Progress` follows."""

    path: str


class Sealed(_Message, tag=38):
    """The chunk is in the store; the end."""


class Progress(_Message, tag=39):
    """Bytes arrived and verified (all of them: the end), and the hashes of the units completed since the last."""

    received: int
    hashes: tuple[int, ...]


class Obeyed(_Message, tag=40):
    """The invalidation is in force on the whole node."""


class Lease(_Message, tag=41):
    """Granted for ``seconds`` from the asking (0: refused). A new ``standing``: distrust all, then ask with it."""

    seconds: float
    standing: int


class Status(_Message, tag=42):
    """The status document (JSON)."""

    document: bytes


class Found(_Message, tag=43):
    """What the key held ``age_s`` before it was asked for; upstream's headers, ``partial`` as in an entry."""

    origin: str
    etag: str
    size: int
    version_id: str
    headers: tuple[tuple[str, str], ...]
    age_s: float
    partial: bool


Hello = ServerHello | ClientHello | ServerProof
Request = AskChunk | Invalidate | AskLease | AskStatus | LookUp
Answer = Waiting | Units | Failed | Filling | Sealed | Progress | Obeyed | Lease | Status | Found
Message = Hello | Request | Answer

HELLOS: Final = msgspec.msgpack.Decoder[Message](Hello)
REQUESTS: Final = msgspec.msgpack.Decoder[Message](Request)
ANSWERS: Final = msgspec.msgpack.Decoder[Message](Answer)

_LIMITS: Final = {
    id(HELLOS): HANDSHAKE_BYTES_MAX,
    id(REQUESTS): REQUEST_BYTES_MAX,
    id(ANSWERS): ANSWER_BYTES_MAX,
}
_encode: Final = msgspec.msgpack.Encoder().encode


def _mac(key: Mac, sequence: int, framed: bytes | memoryview) -> bytes:
    return key.of(sequence.to_bytes(8, "big") + framed)[:MAC_BYTES]


def make_window(units: int) -> memoryview:
    """Memory for so many units. It is page-aligned, as page-cache pages are: copying is fastest so."""
    return memoryview(mmap.mmap(-1, units * UNIT_BYTES))


class FrameWriter:
    """Messages to frames, for one direction of one connection."""

    __slots__ = ("_key", "_sequence")

    def __init__(self) -> None:
        self._key: Mac | None = None
        self._sequence = 0

    def use_key(self, key: bytes) -> None:
        """Authenticate every frame from the next one on."""
        self._key = mac_of(key)

    def frame(self, message: Message) -> bytes:
        """The message's frame. Raises ValueError when it is beyond the answer limit."""
        body = _encode(message)
        if len(body) > ANSWER_BYTES_MAX:
            raise ValueError(f"a message of {len(body)} bytes does not fit a frame")
        framed = len(body).to_bytes(LENGTH_BYTES, "big") + body
        if self._key is None:
            return framed
        sequence, self._sequence = self._sequence, self._sequence + 1
        return framed + _mac(self._key, sequence, framed)


class FrameReader:
    """Bytes to messages, for one direction of one connection. ``kinds``: HELLOS, REQUESTS or ANSWERS."""

    __slots__ = (
        "_begin",
        "_end",
        "_have",
        "_key",
        "_kinds",
        "_limit",
        "_owed",
        "_sequence",
        "_stage",
        "window",
    )

    def __init__(self, kinds: msgspec.msgpack.Decoder[Message]) -> None:
        self._key: Mac | None = None
        self._sequence = 0
        self._stage = memoryview(bytearray(_STAGE_BYTES))
        self._begin = self._end = 0  # the stage's unread bytes
        self._owed = 0  # bytes of the run that have not been handed out
        self._have = 0  # of them in the window
        self.window: memoryview | None = None  # whole units long; None: one unit's is made when it is needed
        self.expect(kinds)

    def expect(self, kinds: msgspec.msgpack.Decoder[Message]) -> None:
        """Take only messages of these kinds from now on."""
        self._kinds = kinds
        self._limit = _LIMITS[id(kinds)]

    def use_key(self, key: bytes) -> None:
        """Demand a right MAC of every frame from the next one on."""
        self._key = mac_of(key)

    def buffer(self) -> memoryview:
        """Where the next bytes go; never empty."""
        if self._owed and self.window is not None:
            self._take_staged(self.window)
            return self.window[self._have : min(UNIT_BYTES, self._owed)]
        if self._begin == self._end:
            self._begin = self._end = 0
        if self._end == len(self._stage):
            self._make_room()
        return self._stage[self._end :]

    def received(self, count: int) -> None:
        """``count`` bytes have been put into the buffer that was last given."""
        if self._owed:
            self._have += count
        else:
            self._end += count

    def next(self) -> Message | None:
        """The next whole message, or None when more bytes are needed. Raises BadFrame.

        After :class:`Units` come its units, by ``next_unit``; until they have, there is no next message.
        """
        message = None if self._owed else self._parse()
        if isinstance(message, Units):
            self._begin_run(message)
        return message

    def next_unit(self) -> memoryview | None:
        """The run's next unit if all of it is here, or None: more bytes are needed, or the run is over.

        It is valid until ``next_unit`` or ``buffer`` is called again.
        """
        if not self._owed or self.window is None:
            return None
        self._take_staged(self.window)
        length = min(UNIT_BYTES, self._owed)
        if self._have < length:
            return None
        self._owed -= length
        self._have = 0
        return self.window[:length]

    def full(self) -> bool:
        """Whether nothing is gained by receiving more before pulling."""
        return not self._owed or self.window is None or self._have == min(UNIT_BYTES, self._owed)

    def ahead(self) -> memoryview | None:
        """Where the run's next bytes may be looked at while they stay where they are.

        None: some have been received, or what is left is too little to be worth it.
        """
        if self._owed <= UNIT_BYTES or self.window is None or self._have or self._begin < self._end:
            return None
        return self.window[: self._owed]

    def seen(self, count: int) -> None:
        """So many bytes of the run, whole units or its end, were seen ahead, and are not to be received any more."""
        self._owed -= count

    def idle(self) -> bool:
        """Whether nothing is half read."""
        return not self._owed and self._begin == self._end

    def _parse(self) -> Message | None:
        have = self._end - self._begin
        if have < LENGTH_BYTES:
            return None
        body_bytes = self._body_bytes()
        total = LENGTH_BYTES + body_bytes + (MAC_BYTES if self._key is not None else 0)
        if have < total:
            return None
        frame = self._stage[self._begin : self._begin + total]
        self._begin += total
        if self._key is not None:
            self._check_mac(self._key, frame)
        try:
            return self._kinds.decode(frame[LENGTH_BYTES : LENGTH_BYTES + body_bytes])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadFrame(f"no message expected here: {error}") from error

    def _body_bytes(self) -> int:
        size = int.from_bytes(self._stage[self._begin : self._begin + LENGTH_BYTES], "big")
        if not 0 < size <= self._limit:
            raise BadFrame(f"a frame of {size} bytes, where {self._limit} are allowed")
        return size

    def _check_mac(self, key: Mac, frame: memoryview) -> None:
        sequence, self._sequence = self._sequence, self._sequence + 1
        wanted = _mac(key, sequence, frame[:-MAC_BYTES])
        if not hmac.compare_digest(wanted, frame[-MAC_BYTES:]):
            raise BadFrame("a frame that is not authentic")

    def _begin_run(self, run: Units) -> None:
        full = (len(run.hashes) - 1) * UNIT_BYTES
        if not 0 < len(run.hashes) <= RUN_UNITS_MAX or not full < run.length <= full + UNIT_BYTES:
            raise BadFrame(f"{len(run.hashes)} units of {run.length} bytes")
        if self.window is None:
            self.window = make_window(1)
        self._owed, self._have = run.length, 0

    def _take_staged(self, window: memoryview) -> None:
        """To the window with what came behind the frame."""
        count = min(self._end - self._begin, min(UNIT_BYTES, self._owed) - self._have)
        if count:
            window[self._have : self._have + count] = self._stage[self._begin : self._begin + count]
            self._begin += count
            self._have += count

    def _make_room(self) -> None:
        """The stage is full: move what is unread to its front, into a larger one when a frame needs that."""
        unread = self._stage[self._begin : self._end]
        wanted = _STAGE_BYTES
        if len(unread) >= LENGTH_BYTES:
            wanted = max(wanted, LENGTH_BYTES + self._body_bytes_unchecked() + MAC_BYTES)
        if len(unread) >= wanted:
            wanted = len(unread) + _STAGE_BYTES
        stage = memoryview(bytearray(wanted))
        stage[: len(unread)] = unread
        self._stage, self._begin, self._end = stage, 0, len(unread)

    def _body_bytes_unchecked(self) -> int:
        """As announced, but never beyond the limit: ``next`` refuses such a frame, ``buffer`` may come first."""
        size = int.from_bytes(self._stage[self._begin : self._begin + LENGTH_BYTES], "big")
        return min(size, self._limit)
