"""What needs no cluster: the actor's class, called as Ray would call it, and an address where nobody is."""

from __future__ import annotations

import threading
import time
from importlib.util import find_spec

import msgspec
import pytest

from bench.client import Begin, Progress
from bench.crew import LoadFailed
from bench.hosts import RayCrew, RemoteClient
from bench.plan import Door, LoadPlan, Shape
from bench.recorder import LoadReport
from tests.doubles.scripted_server import HANG_UP, ScriptedServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def document(endpoint: str, *, engine: str = "raw") -> bytes:
    shape = Shape(engine=engine, object_bytes=5, objects=1, concurrent=1, duration_s=60)
    return msgspec.json.encode(LoadPlan(Door((endpoint,), "b"), shape))


def test_a_phase_in_documents_until_it_is_told_to_stop() -> None:
    with ScriptedServer([[OK] * 100, *[[HANG_UP]] * 400]) as server:
        client = RemoteClient(document(server.endpoint))
        assert client.refused() == ""
        now = client.clock()
        reports: list[bytes] = []
        begin = msgspec.json.encode(Begin(now, now, 0))
        thread = threading.Thread(target=lambda: reports.append(client.work(begin)))
        thread.start()
        while msgspec.json.decode(client.progress(), type=Progress).requests < 100:
            assert time.monotonic() < now + 30
        client.stop()
        thread.join(30)
    report = msgspec.json.decode(reports[0], type=LoadReport)
    assert report.requests == 100
    assert report.begin_s == now


def test_one_that_cannot_work_says_why() -> None:
    client = RemoteClient(document("http://127.0.0.1:1", engine="torch"))
    assert "cannot be listed" in client.refused()
    with pytest.raises(RuntimeError, match="cannot be listed"):
        client.work(msgspec.json.encode(Begin(0, 0, 0)))


@pytest.mark.skipif(find_spec("ray") is not None, reason="ray is installed")
def test_without_ray_the_extra_is_named() -> None:
    with pytest.raises(LoadFailed, match=r"install forebay\[ray\]"):
        RayCrew(LoadPlan(Door(("http://h",), "b"), Shape(ray="auto")))


@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
def test_nobody_there_is_one_line() -> None:
    with pytest.raises(LoadFailed, match=r"--ray 127\.0\.0\.1:1: Connection refused"):
        RayCrew(LoadPlan(Door(("http://h",), "b"), Shape(ray="127.0.0.1:1")))
