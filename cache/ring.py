"""The ring: which node, and which worker on it, owns a chunk.

A 64-bit placement (``cache.chunks.placement_of``) falls into one of 2^21 slots; every slot is won by the node with the
best score in weighted rendezvous hashing, ``-ln(u) / weight``, where ``u`` is a hash of slot and node id. The winners
are worked out once per view, vectorised, so a look-up is one table access whatever the number of nodes.

What always holds: the same view gives the same owners on every node and in every process; a score depends on one slot
and one node alone, so a node that joins or leaves moves only the slots that it wins or had won, none between the
others. With 2^21 slots the share of a node out of 256 has a standard deviation of 1.1 % of itself, out of 3 of 0.1 %.
The worker comes from the placement's low bits: it changes only when its own node's number of workers does.

The slot count is part of the cluster's agreement and never follows the view. Nodes of equal weight are compared by
their raw hashes (the logarithm is monotone), so it is taken once per distinct weight. Building blocks: do it off the
loop for large views.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from cache.views import Node, Owner, View

SLOT_BITS: Final = 21
SLOTS: Final = 1 << SLOT_BITS
NODES_MAX: Final = 1 << 16

_BLOCK: Final = 1 << 14  # slots worked on at a time: five arrays of them stay in a core's second-level cache
_SLOT_SHIFT: Final = 64 - SLOT_BITS
_LOW_32: Final = 0xFFFFFFFF
_GOLDEN: Final = np.uint32(0x9E3779B1)
_MIX_A: Final = np.uint32(0x85EBCA6B)  # the constants of MurmurHash3's 32-bit finaliser
_MIX_B: Final = np.uint32(0xC2B2AE35)

_Words = NDArray[np.uint32]


class Ring:
    """Owners under one view. Raises ValueError for a view of more than 65,536 nodes."""

    __slots__ = ("_owners", "_table", "_winners", "_workers", "view")

    def __init__(self, view: View) -> None:
        if len(view.nodes) > NODES_MAX:
            raise ValueError(f"a ring holds {NODES_MAX} nodes at most, not {len(view.nodes)}")
        self.view = view
        self._winners = _winners(view.nodes)
        self._table = self._winners.data
        self._workers = np.array([node.workers for node in view.nodes], dtype=np.uint64)
        self._owners = [[Owner(node.id, worker) for worker in range(node.workers)] for node in view.nodes]

    def owner(self, point: int) -> Owner:
        """Who fills the chunk placed at ``point`` (0 <= point < 2^64)."""
        workers = self._owners[self._table[point >> _SLOT_SHIFT]]
        return workers[(point & _LOW_32) * len(workers) >> 32]

    def owners(self, points: NDArray[np.uint64]) -> tuple[NDArray[np.uint16], NDArray[np.uint64]]:
        """For each point, the index of its node in ``view.nodes`` and the worker on that node."""
        nodes = self._winners[points >> np.uint64(_SLOT_SHIFT)]
        workers = (points & np.uint64(_LOW_32)) * self._workers[nodes] >> np.uint64(32)
        return nodes, workers

    def shares(self) -> NDArray[np.float64]:
        """The part of all placements that each node of ``view.nodes`` owns; they sum to 1."""
        return np.bincount(self._winners, minlength=len(self.view.nodes)) / SLOTS


def _winners(nodes: tuple[Node, ...]) -> NDArray[np.uint16]:
    """The index of the winning node, per slot."""
    seeds = [np.uint32(xxh3_64_intdigest(node.id.encode()) & _LOW_32) for node in nodes]
    factors = [np.uint32(xxh3_64_intdigest(node.id.encode()) >> 32 | 1) for node in nodes]
    classes: dict[float, list[int]] = {}
    for index, node in enumerate(nodes):
        classes.setdefault(node.weight, []).append(index)
    winners = np.empty(SLOTS, dtype=np.uint16)
    for start in range(0, SLOTS, _BLOCK):
        slots = np.arange(start, start + _BLOCK, dtype=np.uint32) * _GOLDEN
        contests = [(weight, *_best(slots, seeds, factors, members)) for weight, members in sorted(classes.items())]
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
