"""Views: sorted, without twins, and what they refuse."""

from __future__ import annotations

import pytest

from cache.views import Node, Owner, View

A, B = Node("a", "10.0.0.1", 9200), Node("b", "10.0.0.2", 9200, 4, 2.0, "z")


def test_a_view_finds_its_nodes() -> None:
    view = View(1, (A, B))
    assert view.node("b") is B
    assert view.node("c") is None


@pytest.mark.parametrize("nodes", [(), (B, A), (A, A)])
def test_no_such_view(nodes: tuple[Node, ...]) -> None:
    with pytest.raises(ValueError, match="unique and sorted"):
        View(1, nodes)


@pytest.mark.parametrize("wrong", [{"id": ""}, {"workers": 0}, {"weight": 0.0}, {"weight": float("nan")}])
def test_no_such_node(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no such node"):
        Node(**{"id": "a", "host": "h", "peer_port": 1, **wrong})  # type: ignore[arg-type]


def test_owners_are_values() -> None:
    assert Owner("a", 1) == Owner("a", 1) != Owner("a", 2)
