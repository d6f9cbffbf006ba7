"""The static membership: one sorted view, no changes."""

from __future__ import annotations

import pytest

from cache.members.static import StaticMembers
from cache.ports import Members
from cache.views import Node, View


def test_the_view_is_number_one_and_sorted() -> None:
    members: Members = StaticMembers([Node("b", "h", 2), Node("a", "h", 1)])
    assert members.current() == View(1, (Node("a", "h", 1), Node("b", "h", 2)))


def test_watchers_hear_nothing_and_may_leave() -> None:
    heard: list[View] = []
    leave = StaticMembers([Node("a", "h", 1)]).watch(heard.append)
    leave()
    assert heard == []


@pytest.mark.parametrize("nodes", [[], [Node("a", "h", 1), Node("a", "h", 2)]])
def test_no_nodes_or_twins_are_refused(nodes: list[Node]) -> None:
    with pytest.raises(ValueError, match="unique"):
        StaticMembers(nodes)
