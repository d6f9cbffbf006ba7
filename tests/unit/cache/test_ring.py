"""The ring's promises: balance, little movement, none between survivors, the same owners everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.ring import NODES_MAX, Ring
from cache.views import Node, Owner, View

POINTS = np.random.default_rng(7).integers(0, 2**64, 200_000, dtype=np.uint64)

KNOWN = [("node-2", 0), ("node-0", 0), ("node-2", 1), ("node-0", 1), ("node-1", 0)]

NAMEABLE = st.characters(exclude_characters="\0", exclude_categories=["Cs"])  # numpy drops a final NUL of a text


def view_of(*nodes: Node) -> View:
    return View(1, tuple(sorted(nodes, key=lambda node: node.id)))


def even_view(count: int) -> View:
    return view_of(*(Node(f"node-{index}", "127.0.0.1", 9200, workers=2) for index in range(count)))


def owner_ids(ring: Ring) -> np.ndarray:
    nodes, _ = ring.owners(POINTS)
    return np.array([node.id for node in ring.view.nodes])[nodes]


@pytest.mark.parametrize("count", [3, 24, 256])
def test_no_node_owns_over_a_twentieth_more_than_its_share(count: int) -> None:
    shares = Ring(even_view(count)).shares()
    assert shares.sum() == pytest.approx(1.0)
    assert shares.max() * count <= 1.05


def test_shares_follow_weights() -> None:
    weights = [1.0, 2.0, 0.5, 4.0] * 8
    view = view_of(*(Node(f"n{index}", "h", 1, weight=weight) for index, weight in enumerate(weights)))
    wanted = np.array([node.weight for node in view.nodes]) / sum(weights)
    assert (Ring(view).shares() / wanted).max() <= 1.05


@pytest.mark.parametrize("count", [4, 33])
def test_a_node_that_leaves_moves_its_own_chunks_only(count: int) -> None:
    view = even_view(count)
    gone = view.nodes[count // 2]
    smaller = View(2, tuple(node for node in view.nodes if node is not gone))
    before, after = owner_ids(Ring(view)), owner_ids(Ring(smaller))
    assert set(before[before != after]) == {gone.id}
    assert Ring(view).shares()[count // 2] <= 1.05 / count


def test_a_changed_weight_moves_chunks_to_or_from_that_node_only() -> None:
    view = even_view(9)
    heavier = tuple(Node(n.id, n.host, n.peer_port, 2, 3.0 if n.id == "node-4" else 1.0) for n in view.nodes)
    before, after = owner_ids(Ring(view)), owner_ids(Ring(View(2, heavier)))
    assert set(after[before != after]) == {"node-4"}


@settings(max_examples=5, deadline=None)
@given(
    names=st.lists(st.text(NAMEABLE, min_size=1, max_size=6), min_size=2, max_size=5, unique=True),
    weights=st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=5, max_size=5),
    gone=st.integers(0, 4),
)
def test_survivors_keep_their_chunks_whatever_the_names(names: list[str], weights: list[float], gone: int) -> None:
    nodes = [Node(name, "h", 1, weight=weight) for name, weight in zip(names, weights, strict=False)]
    leaver = nodes[gone % len(nodes)]
    before = owner_ids(Ring(view_of(*nodes)))
    after = owner_ids(Ring(view_of(*(node for node in nodes if node is not leaver))))
    assert set(before[before != after]) <= {leaver.id}


def test_one_look_up_and_a_batch_agree() -> None:
    ring = Ring(view_of(Node("a", "h", 1, workers=3), Node("b", "h", 2), Node("c", "h", 3, workers=8, weight=2.0)))
    nodes, workers = ring.owners(POINTS[:500])
    batch = [Owner(ring.view.nodes[node].id, int(worker)) for node, worker in zip(nodes, workers, strict=True)]
    assert batch == [ring.owner(int(point)) for point in POINTS[:500]]


def test_a_known_view_keeps_its_owners_across_releases() -> None:
    ring = Ring(even_view(3))
    points = [0, 1 << 63, 2**64 - 1, 0x0123456789ABCDEF, 0xFEDCBA9876543210]
    assert [(ring.owner(p).node_id, ring.owner(p).worker) for p in points] == KNOWN


def test_workers_of_a_node_share_its_chunks_evenly() -> None:
    _, workers = Ring(view_of(Node("only", "h", 1, workers=4))).owners(POINTS)
    assert np.bincount(workers.astype(np.int64)).max() <= len(POINTS) / 4 * 1.02


def test_a_view_beyond_the_limit_is_refused() -> None:
    nodes = tuple(Node(f"{index:06}", "h", 1) for index in range(NODES_MAX + 1))
    with pytest.raises(ValueError, match="65536"):
        Ring(View(1, nodes))
