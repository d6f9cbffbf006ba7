"""The handshake: who lacks the secret, or was led elsewhere, gets no further."""

from __future__ import annotations

import msgspec
import pytest

from cache.peers.frames import PROTOCOL, BadFrame, ClientHello, ServerHello, ServerProof
from cache.peers.handshake import call, checked_secret, judge_call, judge_proof, keys_of

SECRET = b"s" * 32
HELLO = ServerHello(PROTOCOL, b"a" * 16)


def good_call() -> ClientHello:
    return call(SECRET, HELLO, b"c" * 16, "reader", "owner")


def test_both_ends_agree() -> None:
    answer = good_call()
    judge_proof(SECRET, HELLO, answer, judge_call(SECRET, HELLO, answer, "owner"))
    keys = keys_of(SECRET, HELLO, answer)
    assert keys.from_caller != keys.to_caller
    assert keys != keys_of(SECRET, ServerHello(PROTOCOL, b"b" * 16), answer)


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": b"d" * 16},
        {"node_id": "other"},
        {"peer_id": "other"},
        {"proof": b""},
        {"proof": b"\x00" * 32},
        {"protocol": PROTOCOL + 1},
        {"nonce": b"short"},
        {"node_id": "readero", "peer_id": "wner"},
    ],
)
def test_any_change_of_the_call_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadFrame):
        judge_call(SECRET, HELLO, msgspec.structs.replace(good_call(), **change), "owner")


def test_a_call_for_another_node_is_refused() -> None:
    with pytest.raises(BadFrame, match="owner"):
        judge_call(SECRET, HELLO, good_call(), "third")


def test_a_call_heard_before_another_greeting_is_refused() -> None:
    with pytest.raises(BadFrame, match="secret"):
        judge_call(SECRET, ServerHello(PROTOCOL, b"z" * 16), good_call(), "owner")


def test_an_accepter_without_the_secret_is_refused() -> None:
    for proof in (ServerProof(b""), ServerProof(good_call().proof), judge_call(SECRET, HELLO, good_call(), "owner")):
        hello = HELLO if len(proof.proof) == 0 or proof.proof == good_call().proof else ServerHello(1, b"x" * 16)
        with pytest.raises(BadFrame, match="secret"):
            judge_proof(SECRET, hello, good_call(), proof)


@pytest.mark.parametrize("hello", [ServerHello(PROTOCOL + 1, b"a" * 16), ServerHello(PROTOCOL, b"")])
def test_the_caller_refuses_another_protocol_and_a_short_nonce(hello: ServerHello) -> None:
    with pytest.raises(BadFrame, match="protocol"):
        call(SECRET, hello, b"c" * 16, "reader", "owner")


def test_a_short_secret_is_none() -> None:
    assert checked_secret(SECRET) == SECRET
    with pytest.raises(ValueError, match="32"):
        checked_secret(b"s" * 31)
