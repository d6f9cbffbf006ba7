"""The handshake: both ends prove that they hold the cluster secret, and agree on keys for this connection alone.

The accepting side speaks first (protocol, nonce). The caller answers with its nonce, its node id, the id of the node
it believes it called, and an HMAC-SHA256 over all of that; the accepting side checks it, then proves itself over the
same transcript. Keys, one per direction, come from the transcript too: with fresh nonces on both sides nothing heard on
one connection is of use on another. The secret itself never leaves the process and has at least 32 bytes; there is no
default. The transcript binds the caller's belief, so a connection that was led to another node fails here.

Sans-IO: nonces come as values from the shells in ``pool`` and ``server``.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from cache.peers.frames import PROTOCOL, BadFrame, ClientHello, ServerHello, ServerProof

SECRET_BYTES_MIN: Final = 32
NONCE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Keys:
    """What authenticates the frames of one connection, by direction."""

    from_caller: bytes
    to_caller: bytes


def checked_secret(secret: bytes) -> bytes:
    """The secret. Raises ValueError when it is too short to be one."""
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"the cluster secret needs at least {SECRET_BYTES_MIN} bytes")
    return secret


def call(secret: bytes, hello: ServerHello, nonce: bytes, node_id: str, peer_id: str) -> ClientHello:
    """The caller's answer to ``hello``. Raises BadFrame for another protocol or a short nonce."""
    _judge_hello(hello.protocol, hello.nonce)
    unproven = ClientHello(PROTOCOL, nonce, node_id, peer_id, b"")
    return ClientHello(PROTOCOL, nonce, node_id, peer_id, _digest(secret, b"caller", hello, unproven))


def judge_call(secret: bytes, hello: ServerHello, answer: ClientHello, node_id: str) -> ServerProof:
    """The accepting side (``node_id``) checks the caller, and proves itself. Raises BadFrame."""
    _judge_hello(answer.protocol, answer.nonce)
    if not hmac.compare_digest(answer.proof, _digest(secret, b"caller", hello, answer)):
        raise BadFrame("the caller does not hold the cluster secret")
    if answer.peer_id != node_id:
        raise BadFrame(f"the caller looked for node {answer.peer_id!r}")
    return ServerProof(_digest(secret, b"accepter", hello, answer))


def judge_proof(secret: bytes, hello: ServerHello, answer: ClientHello, proof: ServerProof) -> None:
    """The caller checks the accepting side. Raises BadFrame."""
    if not hmac.compare_digest(proof.proof, _digest(secret, b"accepter", hello, answer)):
        raise BadFrame("the other end does not hold the cluster secret")


def keys_of(secret: bytes, hello: ServerHello, answer: ClientHello) -> Keys:
    """The keys that both ends derive."""
    return Keys(_digest(secret, b"key from caller", hello, answer), _digest(secret, b"key to caller", hello, answer))


def _judge_hello(protocol: int, nonce: bytes) -> None:
    if protocol != PROTOCOL or len(nonce) != NONCE_BYTES:
        raise BadFrame(f"protocol {protocol} with a nonce of {len(nonce)} bytes")


def _digest(secret: bytes, purpose: bytes, hello: ServerHello, answer: ClientHello) -> bytes:
    parts = [
        purpose,
        hello.protocol.to_bytes(8, "big", signed=True),
        hello.nonce,
        answer.nonce,
        answer.node_id.encode(),
        answer.peer_id.encode(),
    ]
    spelled = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(secret, spelled, "sha256")
