"""``forebay status``: one screen that says who gets how much, and what holds them back.

It asks a node's admin port for the status document (of that node, or with ``cluster`` of all) and draws it: a
headline, a row per client, a row per node. ``--json`` prints the document instead. The drawing is a pure function of
the document. Nothing here needs a running loop or the server's code, so the command starts quickly, anywhere.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

Document = dict[str, Any]
Show = Callable[[Console, Document], None]

TIMEOUT_S: Final = 10.0
_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_PIPE_COLUMNS: Final = 160
# (share of the target from which on, colour), best first
_GRADES: Final = ((1.0, "green"), (0.7, "yellow"), (float("-inf"), "red"))


class Unreachable(Exception):
    """The admin port gave no status document; the text says why, in one line."""


def status(admin: str, *, cluster: bool, as_json: bool, watch_s: float | None) -> int:
    """Show the status that ``admin`` (host:port, or an http URL) reports; the exit code.

    ``watch_s``: show it again every so many seconds, until interrupted. 1 when the first answer does not come.
    """
    show: Show = _print_json if as_json else _draw
    try:
        document = fetch(admin, cluster=cluster)
    except Unreachable as fault:
        Console(stderr=True).print(str(fault), style="red", soft_wrap=True, markup=False, highlight=False)
        return 1
    if watch_s is None:
        show(_console(), document)
        return 0
    try:
        _watch(lambda: fetch(admin, cluster=cluster), document, show, watch_s)
    except KeyboardInterrupt:
        return 0
    return 0


def fetch(admin: str, *, cluster: bool) -> Document:
    """The status document. Raises Unreachable."""
    place = urlsplit(admin if "://" in admin else f"http://{admin}")
    try:
        connection = http.client.HTTPConnection(place.hostname or "", place.port or 9100, timeout=TIMEOUT_S)
        try:
            connection.request("GET", "/status?cluster=1" if cluster else "/status")
            answer = connection.getresponse()
            body = answer.read(_ANSWER_BYTES_MAX)
        finally:
            connection.close()
        document = json.loads(body) if answer.status == 200 else None
    except (OSError, ValueError, http.client.HTTPException) as fault:
        raise Unreachable(f"no node answers at {admin}: {str(fault) or type(fault).__name__}") from fault
    if not isinstance(document, dict) or "totals" not in document:
        raise Unreachable(f"what answers at {admin} is no Forebay admin port (status {answer.status})")
    return document


def draw(document: Document) -> RenderableType:
    """The document as a screen."""
    nodes = document.get("nodes") or [document]
    away = [Text(str(document["away"]), "red")] if "away" in document else []
    return Group(_headline(document), _clients(document["clients"]), _nodes(nodes), *away)


def _console() -> Console:
    """Standard output; a pipe or a file has no width of its own, and gets room for every column."""
    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_COLUMNS)


def _print_json(_console: Console, document: Document) -> None:
    print(json.dumps(document, ensure_ascii=False), flush=True)  # noqa: T201 - for a machine: no colour, no wrapping


def _draw(console: Console, document: Document) -> None:
    console.print(draw(document))


def _watch(ask: Callable[[], Document], document: Document, show: Show, watch_s: float) -> None:
    """Until interrupted; while the node is away the last document stays, with a line that says so."""
    console = _console()
    if show is _print_json or not console.is_terminal:
        while True:
            show(console, document)
            time.sleep(watch_s)
            document = _ask_again(ask, document)
    with Live(draw(document), console=console, auto_refresh=False, screen=True) as live:
        while True:
            live.update(draw(document), refresh=True)
            time.sleep(watch_s)
            document = _ask_again(ask, document)


def _ask_again(ask: Callable[[], Document], last: Document) -> Document:
    """A new document; when there is none the last one, with the reason under ``away``."""
    try:
        return ask()
    except Unreachable as fault:
        return last | {"away": str(fault)}


def _headline(document: Document) -> Text:
    totals = document["totals"]
    rate = _at(totals, "rates", "1s")
    share = _at(totals, "of_target", "1s")
    codes = _at(totals, "requests", "by_code") or {}
    where = f"{len(document['nodes'])} nodes" if document.get("cluster") else str(document.get("node", ""))
    line = Text.assemble((where, "bold"), "  ", (_gbps(rate), "bold"), " GB/s now")
    if totals.get("target_bytes_per_second"):
        line.append(f" of {_gbps(totals['target_bytes_per_second'])} for {totals['gpus']} GPUs, ")
        line.append(_percent(share), _grade(share))
    line.append(f"   hits {_percent(totals.get('hit_ratio'))}   errors {codes.get('5xx', 0)}")
    line.append(f"   waits for {_waits(totals)}")
    return line


def _clients(rows: list[Document]) -> Table:
    table = Table(title="clients", title_justify="left", box=None, header_style="bold", pad_edge=False)
    for name, least in (("client", 7), ("job", 3), ("rank", 4)):
        table.add_column(name, overflow="fold", min_width=least)
    for name in ("GPUs", "GB/s 1s", "10s", "60s", "per GPU", "of target", "hits", "ttfb p50", "p99 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("waits for", no_wrap=True)
    for row in rows:
        share = _at(row, "of_target", "10s")
        table.add_row(
            *(Text(str(row[name])) for name in ("client", "job", "rank")),
            str(row["gpus"] or "-"),
            *(_gbps(_at(row, "rates", window)) for window in ("1s", "10s", "60s")),
            _gbps(_at(row, "per_gpu", "10s")),
            Text(_percent(share), _grade(share)),
            _percent(row.get("hit_ratio")),
            *(_number(_at(row, "ttfb_ms", name)) for name in ("p50", "p99")),
            _waits(row),
        )
    return table


def _nodes(nodes: list[Document]) -> Table:
    table = Table(title="nodes", title_justify="left", box=None, header_style="bold", pad_edge=False)
    table.add_column("node", overflow="fold", min_width=6)
    for name in (
        "workers",
        "connections",
        "requests",
        "GB/s 1s",
        "cache GB",
        "quota",
        "hits",
        "fills",
        "peer GB in",
        "out",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for node in nodes:
        table.add_row(Text(str(node.get("node", "?"))), *_node_cells(node))
    return table


def _node_cells(node: Document) -> list[RenderableType]:
    if "error" in node:
        return [Text("away", "red"), Text(str(node["error"]), "red")]
    workers = _latest(node["workers"])
    alive = sum(worker["alive"] for worker in workers)
    cache = node["cache"]
    return [
        Text(f"{alive}/{len(workers)}", "green" if alive == len(workers) else "red"),
        str(sum(worker["connections"] for worker in workers)),
        str(_at(node, "totals", "requests", "total") or 0),
        _gbps(_at(node, "totals", "rates", "1s")),
        _gbps(cache["used_bytes"]),
        _gbps(cache["quota_bytes"]),
        _percent(cache["hit_ratio"]),
        str(cache["fills"]["now"]),
        _gbps(_at(node, "peers", "bytes", "in")),
        _gbps(_at(node, "peers", "bytes", "out")),
    ]


def _latest(workers: list[Document]) -> list[Document]:
    """The newest process of each worker: its dead predecessors are history."""
    newest: dict[int, Document] = {}
    for worker in sorted(workers, key=lambda worker: (worker["alive"], worker["started_at"])):
        newest[worker["worker"]] = worker
    return list(newest.values())


def _at(document: Document, *names: str) -> Any:  # noqa: ANN401 - a JSON value
    """The value under the names; None where one is missing."""
    value: Any = document
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _waits(row: Document) -> str:
    verdict = row.get("waits_for")
    return f"{verdict['cause']} {verdict['share']:.0%}" if verdict else "-"


def _gbps(amount: float | None) -> str:
    return "-" if amount is None else f"{amount / 1e9:.2f}"


def _number(amount: float | None) -> str:
    return "-" if amount is None else f"{amount:.3g}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _grade(share: float | None) -> str:
    return "" if share is None else next(colour for least, colour in _GRADES if share >= least)
