from __future__ import annotations

from time import monotonic

from bench.client import Begin, Client, Progress
from bench.plan import Door, LoadPlan, Shape
from tests.doubles.scripted_server import ScriptedServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def test_a_warm_up_is_no_progress_and_leaves_its_connection() -> None:
    said: list[Progress] = []

    def on_tick(progress: Progress) -> bool:
        said.append(progress)
        return False

    with ScriptedServer([[OK] * 500_000]) as server:
        shape = Shape(object_bytes=5, objects=1, concurrent=1, duration_s=0.5, warmup_s=0.5)
        client = Client(LoadPlan(Door((server.endpoint,), "b"), shape))
        now = monotonic()
        warm = client.work(Begin(now, now, 0, warm_up=True), on_tick)
        assert set(said) == {Progress(0, 0, 0)}
        now = monotonic()
        measured = client.work(Begin(now, now, 0), on_tick)
        client.close()
    (sent,) = server.requests
    assert len(sent) == warm.requests + measured.requests
    assert 0 < said[-1].requests <= measured.requests
