"""The contest for the ring's slots: which node of a view wins each of them, in weighted rendezvous hashing.

A node's score is ``-ln(u) / weight``, where ``u`` is a hash of slot and node id; the lowest wins. Nodes of equal weight
are compared by their raw hashes (the logarithm is monotone), so it is taken once per distinct weight. Vectorised, in
blocks of slots: half a second for hundreds of nodes. The part of the ring that needs numpy.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from cache.views import Node

_BLOCK: Final = 1 << 14  # slots worked on at a time: five arrays of them stay in a core's second-level cache
_LOW_32: Final = 0xFFFFFFFF
_GOLDEN: Final = np.uint32(0x9E3779B1)
_MIX_A: Final = np.uint32(0x85EBCA6B)  # the constants of MurmurHash3's 32-bit finaliser
_MIX_B: Final = np.uint32(0xC2B2AE35)

_Words = NDArray[np.uint32]


def winners_of(nodes: tuple[Node, ...], slots: int) -> NDArray[np.uint16]:
    """The index of the winning node, per slot; ``slots`` is a multiple of 2^14."""
    seeds = [np.uint32(xxh3_64_intdigest(node.id.encode()) & _LOW_32) for node in nodes]
    factors = [np.uint32(xxh3_64_intdigest(node.id.encode()) >> 32 | 1) for node in nodes]
    classes: dict[float, list[int]] = {}
    for index, node in enumerate(nodes):
        classes.setdefault(node.weight, []).append(index)
    winners = np.empty(slots, dtype=np.uint16)
    for start in range(0, slots, _BLOCK):
        block = np.arange(start, start + _BLOCK, dtype=np.uint32) * _GOLDEN
        contests = [(weight, *_best(block, seeds, factors, members)) for weight, members in sorted(classes.items())]
        winners[start : start + _BLOCK] = _across_weights(contests)
    return winners


def _best(
    slots: _Words, seeds: list[np.uint32], factors: list[np.uint32], members: list[int]
) -> tuple[_Words, NDArray[np.uint16]]:
    """Among nodes of one weight: the highest hash per slot, and whose it is. The first of equals wins."""
    high = np.zeros_like(slots)
    winner = np.full(slots.shape, members[0], dtype=np.uint16)
    score, spare, better = np.empty_like(slots), np.empty_like(slots), np.empty(slots.shape, dtype=np.bool_)
    for index in members:
        np.bitwise_xor(slots, seeds[index], out=score)
        np.multiply(score, factors[index], out=score)
        _mix(score, spare)
        np.greater(score, high, out=better)
        np.maximum(score, high, out=high)
        np.putmask(winner, better, index)
    return high, winner


def _mix(words: _Words, spare: _Words) -> None:
    """MurmurHash3's finaliser, in place: every input bit reaches every output bit."""
    for shift, factor in ((16, _MIX_A), (13, _MIX_B)):
        np.right_shift(words, np.uint32(shift), out=spare)
        np.bitwise_xor(words, spare, out=words)
        np.multiply(words, factor, out=words)
    np.right_shift(words, np.uint32(16), out=spare)
    np.bitwise_xor(words, spare, out=words)


def _across_weights(contests: list[tuple[float, _Words, NDArray[np.uint16]]]) -> NDArray[np.uint16]:
    """The winner per slot among the winners of each weight: the lowest ``-ln(u) / weight``."""
    if len(contests) == 1:
        return contests[0][2]
    scores = np.stack([-np.log((high + 0.5) / 2.0**32) / weight for weight, high, _ in contests])
    chosen = np.argmin(scores, axis=0)
    candidates = np.stack([winner for _, _, winner in contests])
    across: NDArray[np.uint16] = candidates[chosen, np.arange(candidates.shape[1])]
    return across
