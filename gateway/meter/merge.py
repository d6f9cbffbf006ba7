"""The cluster's status document out of its nodes' ones.

What was counted is added, whatever follows from it is worked out again (``documents.finish``). Clients are matched by
(client, job, rank): the GPUs of a client that reads through several nodes are the same GPUs, so they and the target are
not added but the largest is taken. A node that could not be asked comes as ``{"node": …, "error": …}``; it is listed
and adds nothing. Documents of another version of Forebay may lack fields: a missing number is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from gateway.meter.documents import Document, finish, finish_cache

_LARGEST: Final = frozenset({"gpus", "target_bytes_per_second_per_gpu", "recent_s"})
_DERIVED: Final = frozenset({"per_gpu", "of_target", "hit_ratio", "waits_for", "ttfb_ms"})
_NODE_FIELDS: Final = (
    "node",
    "version",
    "uptime_s",
    "error",
    "members",
    "workers",
    "cache",
    "upstream",
    "peers",
    "totals",
)


def merge(statuses: Sequence[Document]) -> Document:
    """One document: ``nodes`` (each without its clients), and the other parts of all nodes together."""
    well = [status for status in statuses if "error" not in status]
    clients = _clients(row for status in well for row in status["clients"])
    return {
        "cluster": True,
        "nodes": [{name: status[name] for name in _NODE_FIELDS if name in status} for status in statuses],
        "cache": finish_cache(_added(status["cache"] for status in well)) if well else {},
        "upstream": _added(status["upstream"] for status in well),
        "peers": _added(status["peers"] for status in well),
        "clients": clients,
        "totals": _totals(clients, [status["totals"] for status in well]),
    }


def _clients(rows: Iterable[Document]) -> list[Document]:
    by_key: dict[tuple[str, str, str], list[Document]] = {}
    for row in rows:
        by_key.setdefault((row["client"], row["job"], row["rank"]), []).append(row)
    return [finish(_added(group)) for _, group in sorted(by_key.items())]


def _totals(clients: Sequence[Document], totals: Sequence[Document]) -> Document:
    if not totals:
        return {}
    wanted = {
        "gpus": sum(row["gpus"] for row in clients),
        "target_bytes_per_second": sum(row["gpus"] * row["target_bytes_per_second_per_gpu"] for row in clients),
    }
    return finish(_added(totals) | wanted)


def _added(documents: Iterable[Document]) -> Document:
    """The documents added field by field, without what follows from their counts."""
    out: Document = {}
    for document in documents:
        for name, value in document.items():
            if name not in _DERIVED:
                out[name] = _plus(name, out[name], value) if name in out else _plain(value)
    return out


def _plain(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    return _added([value]) if isinstance(value, dict) else value


def _plus(name: str, mine: Any, theirs: Any) -> Any:  # noqa: ANN401 - JSON values
    if isinstance(mine, dict):
        return _added([mine, theirs])
    if isinstance(mine, list):
        return [a + b for a, b in zip(mine, theirs, strict=True)]
    if isinstance(mine, str):
        return mine
    return max(mine, theirs) if name in _LARGEST else mine + theirs
