"""The admin port's pages: health, metrics, status. Nothing else: every other path or method is 404.

``/health/live`` says whether the loop still turns (its lag alone: a node whose upstream is down must not be restarted
for it); ``/health/ready`` whether requests should be sent here, and if not, why; ``/healthz`` and ``/readyz`` are the
same two. ``/metrics`` is Prometheus text, ``/status`` the node's document, ``/status?cluster=1`` that of all nodes. The
node process makes the callables and binds the port (loopback unless told otherwise); here is no authentication, since
nothing can be changed and no key, bucket or secret is shown.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.meter.documents import Document
from gateway.meter.merge import merge

LAG_MAX_S: Final = 10.0
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class AdminSources:
    """What the pages are made of. All are asked at each request; the plain callables must not block.

    ``others`` asks the other nodes for their documents; a node that did not answer is ``{"node": …, "error": …}``. It
    must not raise. ``reasons_not_ready`` is empty when the node should get requests. ``lag_s``: the loop's lag.
    """

    status: Callable[[], Document]
    metrics: Callable[[], bytes]
    others: Callable[[], Awaitable[list[Document]]]
    reasons_not_ready: Callable[[], Sequence[str]]
    lag_s: Callable[[], float]


def build_admin(sources: AdminSources) -> web.Application:
    """The application; the caller runs it and closes it."""
    pages = _Pages(sources)
    app = web.Application(client_max_size=4096)
    for path, page in (
        ("/health/live", pages.live),
        ("/healthz", pages.live),
        ("/health/ready", pages.ready),
        ("/readyz", pages.ready),
        ("/metrics", pages.metrics),
        ("/status", pages.status),
    ):
        app.router.add_get(path, page)
    app.router.add_route("*", "/{rest:.*}", pages.nothing)
    return app


class _Pages:
    """The pages, each answering one request."""

    def __init__(self, sources: AdminSources) -> None:
        self._sources = sources

    async def live(self, _request: web.Request) -> web.Response:
        lag_s = self._sources.lag_s()
        well = lag_s <= LAG_MAX_S
        return _json({"live": well, "loop_lag_s": lag_s}, status=200 if well else 503)

    async def ready(self, _request: web.Request) -> web.Response:
        reasons = list(self._sources.reasons_not_ready())
        return _json({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    async def metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._sources.metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST, **_HEADERS})

    async def status(self, request: web.Request) -> web.Response:
        if request.query.get("cluster", "") not in {"1", "true"}:
            return _json(self._sources.status())
        others = await self._sources.others()
        return _json(merge([self._sources.status(), *others]))

    async def nothing(self, _request: web.Request) -> web.Response:
        return _json({"error": "no such page"}, status=404)


def _json(document: Document, *, status: int = 200) -> web.Response:
    text = json.dumps(document, ensure_ascii=False)
    return web.Response(text=text, status=status, content_type="application/json", headers=_HEADERS)
