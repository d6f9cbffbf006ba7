"""The status screen: colours by the target, unknown values as dashes, no answer as one line."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cache.tally import Count
from gateway.cli.status import draw, status
from gateway.meter import documents, layout
from gateway.meter.readings import ClientCounts, ClientKey

IDLE: tuple[dict[str, float], float] = ({}, 0.0)


def _document(share: float, gpus: int = 4) -> dict[str, Any]:
    counts = ClientCounts()
    counts.words[layout.GPUS], counts.words[layout.TARGET] = gpus, 7 * 10**9
    rates = dict.fromkeys(("1s", "10s", "60s"), share * gpus * 7e9)
    row = documents.client_row(
        ClientKey("tr[red]ainer", "llm", "3"), counts, rates, ({"disk": 9.0, "client": 1.0}, 10.0)
    )
    tally = [0] * len(Count)
    worker = {"worker": 0, "pid": 1, "connections": 2, "requests": 3, "loop_lag_s": 0.0}
    return {
        "node": "n1",
        "workers": [worker | {"alive": False, "started_at": 1.0}, worker | {"alive": True, "started_at": 2.0}],
        "cache": documents.cache_part(tally, 10**9, 4 * 10**9),
        "upstream": documents.upstream_part(tally),
        "peers": documents.peers_part(tally),
        "clients": [row],
        "totals": documents.total_row([row], counts, rates, IDLE),
    }


def _drawn(document: dict[str, Any], *, colour: bool = False) -> str:
    console = Console(width=200, force_terminal=colour, color_system="standard" if colour else None, record=True)
    with console.capture() as capture:
        console.print(draw(document))
    return capture.get()


@pytest.mark.parametrize(("share", "colour"), [(1.0, 32), (0.99, 33), (0.7, 33), (0.69, 31), (0.0, 31)])
def test_the_share_of_the_target_has_its_colour(share: float, colour: int) -> None:
    assert f"\x1b[{colour}m{share:.0%}\x1b[0m" in _drawn(_document(share), colour=True)


def test_a_screen_says_it_all() -> None:
    text = _drawn(_document(0.5))
    assert "n1  14.00 GB/s now of 28.00 for 4 GPUs, 50%" in text
    assert "tr[red]ainer" in text
    assert "disk 90%" in text
    assert "1/1" in text


def test_what_is_unknown_is_a_dash() -> None:
    text = _drawn(_document(0.5, gpus=0))
    assert " of " not in text.splitlines()[0]
    assert "-" in text


@pytest.fixture
def port() -> Iterator[int]:
    """A server that answers /status with a document and all else with something else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(_document(1.0) if self.path == "/status" else [1]).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_json_is_the_document(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(f"127.0.0.1:{port}", cluster=False, as_json=True, watch_s=None) == 0
    assert json.loads(capsys.readouterr().out)["node"] == "n1"


def test_another_service_is_one_line(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(f"http://127.0.0.1:{port}", cluster=True, as_json=True, watch_s=None) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("admin", ["127.0.0.1:1", "http://", "127.0.0.1:port", "a b"])
def test_nobody_is_one_line(admin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(admin, cluster=False, as_json=False, watch_s=None) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("as_json", [True, False])
def test_watching_goes_on_until_interrupted(port: int, as_json: bool) -> None:
    call = f"status('127.0.0.1:{port}', cluster=False, as_json={as_json}, watch_s=0.01)"
    code = f"import sys; from gateway.cli.status import status; sys.exit({call})"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[4],
        env=os.environ | {"COLUMNS": "160"},
    ) as process:
        try:
            assert process.stdout is not None
            assert b"n1" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
            assert process.returncode == 0
        finally:
            process.kill()
