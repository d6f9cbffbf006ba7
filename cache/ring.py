"""The ring: which node, and which worker on it, owns a chunk.

A 64-bit placement (``cache.chunks.placement_of``) falls into one of 2^21 slots; every slot is won by the node with the
best score in weighted rendezvous hashing (``cache.contest``). The winners are worked out once per view, so a look-up is
one table access whatever the number of nodes. A lone node wins without a contest, and needs no numpy: its import would
be a twentieth of such a node's start.

What always holds: the same view gives the same owners on every node and in every process; a score depends on one slot
and one node alone, so a node that joins or leaves moves only the slots that it wins or had won, none between the
others. With 2^21 slots the share of a node out of 256 has a standard deviation of 1.1 % of itself, out of 3 of 0.1 %.
The worker comes from the placement's low bits: it changes only when its own node's number of workers does.

The slot count is part of the cluster's agreement and never follows the view. Building blocks: do it off the loop for
large views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cache.views import Node, Owner, View

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SLOT_BITS: Final = 21
SLOTS: Final = 1 << SLOT_BITS
NODES_MAX: Final = 1 << 16

_SLOT_SHIFT: Final = 64 - SLOT_BITS
_LOW_32: Final = 0xFFFFFFFF


class Ring:
    """Owners under one view. Raises ValueError for a view of more than 65,536 nodes."""

    __slots__ = ("_alone", "_owners", "_table", "view")

    def __init__(self, view: View) -> None:
        if len(view.nodes) > NODES_MAX:
            raise ValueError(f"a ring holds {NODES_MAX} nodes at most, not {len(view.nodes)}")
        self.view = view
        self._table = _table_of(view.nodes)
        self._owners = [[Owner(node.id, worker) for worker in range(node.workers)] for node in view.nodes]
        self._alone = self._owners[0] if len(self._owners) == 1 else None  # the table is large, and seldom in a cache

    def owner(self, point: int) -> Owner:
        """Who fills the chunk placed at ``point`` (0 <= point < 2^64)."""
        workers = self._alone or self._owners[self._table[point >> _SLOT_SHIFT]]
        return workers[(point & _LOW_32) * len(workers) >> 32]

    def owners(self, points: NDArray[np.uint64]) -> tuple[NDArray[np.uint16], NDArray[np.uint64]]:
        """For each point, the index of its node in ``view.nodes`` and the worker on that node."""
        import numpy as np  # noqa: PLC0415 - whoever asks for many at once has it

        counts = np.array([node.workers for node in self.view.nodes], dtype=np.uint64)
        nodes = np.asarray(self._table)[points >> np.uint64(_SLOT_SHIFT)]
        workers = (points & np.uint64(_LOW_32)) * counts[nodes] >> np.uint64(32)
        return nodes, workers

    def shares(self) -> NDArray[np.float64]:
        """The part of all placements that each node of ``view.nodes`` owns; they sum to 1."""
        import numpy as np  # noqa: PLC0415 - as above

        return np.bincount(self._table, minlength=len(self.view.nodes)) / SLOTS


def _table_of(nodes: tuple[Node, ...]) -> memoryview[int]:
    """The index of the winning node, per slot."""
    if len(nodes) == 1:
        return memoryview(bytes(2 * SLOTS)).cast("H")  # zeros that nobody writes take no memory
    from cache.contest import winners_of  # noqa: PLC0415 - numpy

    return winners_of(nodes, SLOTS).data
