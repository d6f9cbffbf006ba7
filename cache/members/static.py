"""A membership that the operator wrote down: view number 1, for as long as the process lives.

Implements ``cache.ports.Members``. It never changes, so watchers are accepted and never called. Other sources of views
(DNS, etcd) are modules of their own beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cache.views import Node, View


class StaticMembers:
    """The given nodes, in one view. Raises ValueError when there are none or two share an id."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._view = View(1, tuple(sorted(nodes, key=lambda node: node.id)))

    def current(self) -> View:
        """The one view."""
        return self._view

    def watch(self, changed: Callable[[View], None]) -> Callable[[], None]:  # noqa: ARG002 - the port's signature
        """Nothing ever changes: ``changed`` is not kept."""
        return _nothing


def _nothing() -> None:
    """What ends a watch that never began."""
