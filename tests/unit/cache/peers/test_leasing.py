"""Invalidations in frames, and what a node does with the answers about leases."""

from __future__ import annotations

from cache.peers.frames import REFS_MAX
from cache.peers.leasing import REF_BYTES_MAX, batches
from cache.versions import ObjectRef


def test_batches_hold_all_refs_in_order_within_the_limits() -> None:
    refs = [ObjectRef("b", f"{index}-" + "ä" * 500, "v" * 900) for index in range(REFS_MAX)]
    refs += [ObjectRef("b", str(index)) for index in range(2 * REFS_MAX + 1)]
    frames = list(batches(refs))
    assert [ObjectRef(*names) for frame in frames for names in frame.refs] == refs
    for frame in frames:
        assert len(frame.refs) <= REFS_MAX
        assert sum(len(name.encode()) for names in frame.refs for name in names) <= REF_BYTES_MAX


def test_nothing_makes_no_frame() -> None:
    assert not list(batches([]))
