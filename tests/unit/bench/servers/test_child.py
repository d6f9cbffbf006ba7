from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench.cpu import process_tree
from bench.servers.child import ServerFailed, free_port, running

_LISTEN = (
    "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\nwhile True: s.accept()[0].close()"
)


def test_a_server_runs_on_its_cores_until_its_context_ends(tmp_path: Path) -> None:
    port, cpu = free_port(), min(os.sched_getaffinity(0))
    command = [sys.executable, "-c", _LISTEN, str(port)]
    with running("s", command, port=port, log=tmp_path / "log", cpus=[cpu]) as listening:
        assert listening.endpoint == f"http://127.0.0.1:{port}"
        assert os.sched_getaffinity(listening.pid) == {cpu}
        assert process_tree(listening.pid) == [listening.pid]
    with pytest.raises(ProcessLookupError):
        os.sched_getaffinity(listening.pid)


def test_what_a_server_said_is_why_it_failed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such bucket')"]
    with (
        pytest.raises(ServerFailed, match=r"s ended at once .*: no such bucket"),
        running("s", command, port=free_port(), log=tmp_path / "log"),
    ):
        raise AssertionError("it does not run")


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    allowed = os.sched_getaffinity(0)
    with (
        pytest.raises(ServerFailed, match="No such file"),
        running("s", ["/no/such/server"], port=1, log=tmp_path / "log", cpus=[min(allowed)]),
    ):
        raise AssertionError("it does not run")
    assert os.sched_getaffinity(0) == allowed
