"""Views: numbered memberships. A view says which nodes there are, how much each should hold, and where each listens.

A view is a value: it never changes, its successor has a higher number. Node ids are the operator's names. Weights are
relative shares of the chunks. A node has ``workers`` data workers; worker ``w`` listens for peers at ``peer_port + w``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    """One member: its name, where its workers listen for peers, its share and its zone."""

    id: str
    host: str
    peer_port: int
    workers: int = 1
    weight: float = 1.0
    zone: str = ""

    def __post_init__(self) -> None:
        if not self.id or self.workers < 1 or not self.weight > 0:
            raise ValueError(f"no such node: {self!r}")


@dataclass(frozen=True, slots=True)
class View:
    """Membership number ``number``. ``nodes`` are sorted by id, and no two share one."""

    number: int
    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        ids = [node.id for node in self.nodes]
        if ids != sorted(set(ids)) or not ids:
            raise ValueError(f"node ids must be unique and sorted: {ids}")

    def node(self, node_id: str) -> Node | None:
        """The member of that name, or None."""
        return next((node for node in self.nodes if node.id == node_id), None)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who alone fills a chunk from upstream: a node, and the worker on it."""

    node_id: str
    worker: int
