"""Child processes, begun both ways: spoken to, ended, and never left without a parent.

Forks happen in processes of their own, which have no thread and no loop. That nobody remains is seen by the end of a
pipe: whoever still holds its other end would keep it from ending.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gateway.lives import Life, spawn

LINE = "import signal; from gateway.lives import line_from_stdin; line = line_from_stdin();"
OPEN = "import os; raise SystemExit(len([one for one in os.listdir('/proc/self/fd') if int(one) > 2]) - 1)"


@pytest.fixture
def inheritable() -> Iterator[int]:
    """A descriptor that an exec would not close."""
    with open(os.devnull) as file:
        os.set_inheritable(file.fileno(), True)
        yield file.fileno()


def run(script: str) -> subprocess.CompletedProcess[str]:
    """Run a program until nobody holds its output any more."""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)


async def end_of(life: Life) -> int:
    life.send_signal(signal.SIGKILL)
    return await life.ended()


async def test_a_spawned_process_hears_everything_and_says_when_it_is_ready() -> None:
    message = os.urandom(400_000)  # more than a socket holds
    life = spawn(["-c", f"{LINE} assert len(line.read()) == {len(message)}; line.ready(); signal.pause()"])
    assert await life.begin(message)
    assert await end_of(life) == -signal.SIGKILL
    assert (life.exit_code, await life.ended()) == (-signal.SIGKILL, -signal.SIGKILL)
    life.send_signal(signal.SIGKILL)  # nobody is meant any more
    life.end()


@pytest.mark.parametrize("script", ["raise SystemExit(3)", "line.read(); raise SystemExit(3)"])
async def test_who_hangs_up_is_not_ready(script: str) -> None:
    life = spawn(["-c", f"{LINE} {script}"])
    assert not await life.begin(bytes(400_000))
    assert await life.ended() == 3


async def test_a_spawned_process_has_nothing_open_of_ours(inheritable: int) -> None:
    life = spawn(["-c", OPEN])
    assert not await life.begin(b"")
    assert await life.ended() == 0


async def test_a_program_that_cannot_be_run_is_an_error() -> None:
    with pytest.raises(OSError, match="too long"):
        spawn(["-c", "#" * 300_000])


async def test_a_process_that_has_ended_unheard_takes_no_signal() -> None:
    life = spawn(["-c", "pass"])
    await asyncio.to_thread(os.waitid, os.P_PID, life.pid, os.WEXITED | os.WNOWAIT)
    life.send_signal(signal.SIGTERM)
    assert not await life.begin(b"settings")
    assert await life.ended() == 0


FORKED = """
import asyncio, os, signal
from gateway.lives import fork_each

def course(number):
    def live(line):
        told = line.read().decode()
        others = [one for one in os.listdir("/proc/self/fd") if int(one) > 2]
        print(number, told, len(others) - 2, flush=True)  # the line, and the listing itself
        line.ready()
        signal.pause()
    return live

async def main(lives):
    for life in lives:
        assert await life.begin(b"settings")
        life.send_signal(signal.SIGTERM)
        assert await life.ended() == -signal.SIGTERM

asyncio.run(main(fork_each([course(number) for number in range(3)])))
"""


def test_forked_processes_hear_and_are_ready_and_know_nothing_of_each_other() -> None:
    done = run(FORKED)
    assert (done.stdout, done.stderr, done.returncode) == ("0 settings 0\n1 settings 0\n2 settings 0\n", "", 0)


LEFT = """
import os
from gateway.lives import fork_each
from gateway.logs import set_up_logs

def exits(line): raise SystemExit(7)
def fails(line): return 1 // 0
def returns(line): print("half a line", end=" "); return 5

set_up_logs("info")
print("before", end=" ")
try:
    lives = fork_each([exits, fails, returns])
    for life in lives:
        os.waitid(os.P_PID, life.pid, os.WEXITED | os.WNOWAIT)
        life.end()
    print(*(life.exit_code for life in lives), end=" ")
finally:
    print("after")
"""


def test_a_forked_process_never_returns_to_its_parents_frames() -> None:
    done = run(LEFT)
    assert (done.stdout, done.returncode) == ("before half a line 1 1 5 after\n", 0)
    logged = "".join(sorted(json.loads(line)["exception"] for line in done.stderr.splitlines()))
    assert "SystemExit: 7" in logged
    assert "ZeroDivisionError" in logged


FORK = "import os, signal; from gateway.lives import fork_each; fork_each([lambda line: signal.pause()] * 3);"
WAITING = f"{LINE} line.ready(); signal.pause()"
SPAWN = f"import os, signal; from gateway.lives import spawn; life = spawn(['-c', {WAITING!r}]);"
AWAIT = "import asyncio; asyncio.run(life.begin(b'settings'));"


@pytest.mark.parametrize("begun", [FORK, SPAWN, SPAWN + AWAIT])
def test_nobody_outlives_a_parent_that_is_killed(begun: str) -> None:
    assert run(f"{begun} os.kill(os.getpid(), signal.SIGKILL)").returncode == -signal.SIGKILL


def test_a_fork_that_cannot_be_had_leaves_no_child() -> None:
    """The third one finds no descriptors left."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8));"
    done = run(f"{limit} {FORK}")
    assert done.returncode == 1
    assert "Too many open files" in done.stderr
