"""The contest: what the ring builds on it is tested with the ring; here that a ring without one is as one with it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from cache.contest import winners_of
from cache.ring import SLOTS, Ring
from cache.views import Node, View


def test_a_lone_node_wins_every_slot_with_or_without_a_contest() -> None:
    view = View(1, (Node("only", "h", 1, workers=3),))
    assert not winners_of(view.nodes, SLOTS).any()
    points = np.random.default_rng(5).integers(0, 2**64, 1000, dtype=np.uint64)
    nodes, workers = Ring(view).owners(points)
    assert not nodes.any()
    assert [Ring(view).owner(int(point)).worker for point in points[:50]] == workers[:50].tolist()
    assert Ring(view).shares().tolist() == [1.0]


def test_the_winner_of_a_slot_does_not_follow_from_how_many_slots_are_asked_about() -> None:
    nodes = tuple(Node(name, "h", 1, weight=weight) for name, weight in (("a", 1.0), ("b", 2.0), ("c", 1.0)))
    assert (winners_of(nodes, 1 << 15)[: 1 << 14] == winners_of(nodes, 1 << 14)).all()


def test_a_lone_ring_needs_no_numpy() -> None:
    script = (
        "import sys; from cache.ring import Ring; from cache.views import Node, View;"
        "Ring(View(1, (Node('a', 'h', 1),))).owner(5); assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
