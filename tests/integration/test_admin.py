"""The admin port over a real socket: its pages, and nothing beside them; and ``forebay status`` asking it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from cache.pieces import Source
from gateway.cli.status import status
from gateway.http.admin import LAG_MAX_S, AdminSources, build_admin
from gateway.meter.counters import WorkerMeter
from gateway.meter.export import NodeMeter


@dataclass
class Admin:
    """A node's admin port with one worker's meter behind it."""

    url: str = ""
    lag_s: float = 0.0
    reasons: list[str] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)

    async def ask_others(self) -> list[dict[str, Any]]:
        return self.others

    async def get(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        async with ClientSession() as session, session.request(method, self.url + path) as answer:
            return answer.status, answer.headers["Content-Type"], await answer.text()


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Admin]:
    made = Admin()
    node = NodeMeter(str(tmp_path), "n1")
    worker = WorkerMeter(str(tmp_path), 0)
    worker.client("trainer", "llm", "0", 8, 7e9).sent(Source.LOCAL, 5_000_000_000)
    sources = AdminSources(node.status, node.metrics, made.ask_others, lambda: made.reasons, lambda: made.lag_s)
    runner = web.AppRunner(build_admin(sources))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()
    worker.close()
    node.close()


@pytest.mark.parametrize("path", ["/health/live", "/healthz"])
async def test_live_is_the_loops_lag_alone(admin: Admin, path: str) -> None:
    admin.reasons = ["upstream is away"]
    assert (await admin.get(path))[0] == 200
    admin.lag_s = LAG_MAX_S + 1
    assert (await admin.get(path))[0] == 503


@pytest.mark.parametrize("path", ["/health/ready", "/readyz"])
async def test_ready_says_why_not(admin: Admin, path: str) -> None:
    code, _, text = await admin.get(path)
    assert (code, json.loads(text)) == (200, {"ready": True, "reasons": []})
    admin.reasons = ["no worker listens yet"]
    code, _, text = await admin.get(path)
    assert (code, json.loads(text)["reasons"]) == (503, ["no worker listens yet"])


async def test_metrics(admin: Admin) -> None:
    code, kind, text = await admin.get("/metrics")
    assert code == 200
    assert kind.startswith("text/plain; version=")
    assert 'forebay_client_bytes_total{client="trainer",job="llm",rank="0",source="hit_local"} 5e+09' in text


async def test_status_of_the_node_and_of_the_cluster(admin: Admin) -> None:
    code, kind, text = await admin.get("/status")
    assert (code, kind.partition(";")[0]) == (200, "application/json")
    mine = json.loads(text)
    assert mine["clients"][0]["bytes"]["local"] == 5_000_000_000
    admin.others = [mine | {"node": "n2"}, {"node": "n3", "error": "no answer"}]
    merged = json.loads((await admin.get("/status?cluster=1"))[2])
    assert [node["node"] for node in merged["nodes"]] == ["n1", "n2", "n3"]
    assert merged["totals"]["bytes"]["local"] == 10_000_000_000


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/bucket/key"),
        ("POST", "/metrics"),
        ("DELETE", "/status"),
        ("GET", "/health"),
        ("PUT", "/x"),
    ],
)
async def test_nothing_else(admin: Admin, method: str, path: str) -> None:
    assert (await admin.get(path, method))[0] == 404


async def test_forebay_status_draws_what_it_says(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    admin.others = [{"node": "n3", "error": "no answer"}]
    code = await asyncio.to_thread(status, admin.url, cluster=True, as_json=False, watch_s=None)
    drawn = capsys.readouterr().out
    assert code == 0
    assert "2 nodes" in drawn
    assert "trainer" in drawn
    assert "away" in drawn


async def test_forebay_status_prints_the_document(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    place = admin.url.removeprefix("http://")
    assert await asyncio.to_thread(status, place, cluster=False, as_json=True, watch_s=None) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["totals"]["bytes"]["local"] == 5_000_000_000


async def test_forebay_status_of_another_service(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    place = admin.url + "?"  # the port is right, what it says is not
    admin.others = []
    assert await asyncio.to_thread(status, place, cluster=False, as_json=True, watch_s=None) == 0
    capsys.readouterr()


def test_forebay_status_of_nobody(capsys: pytest.CaptureFixture[str], unused_tcp_port: int) -> None:
    assert status(f"127.0.0.1:{unused_tcp_port}", cluster=False, as_json=False, watch_s=None) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "no node answers at 127.0.0.1" in captured.err
