"""The lives of child processes: how a worker of the node begins, is spoken to, and ends.

A life begins in one of two ways. :func:`fork_each` copies this process, which costs milliseconds where everything is
imported, and is only for a process that has no thread, no loop and no database yet. :func:`spawn` runs a new
interpreter, at any time, and costs its imports.

Either way the process is a child of this one, ends with it, and holds the other end of a *line*, a pair of sockets.
What it needs to know goes over the line, then comes its word that it is ready, and nothing else ever: so no secret is
in an argument, a file or the environment. A spawned process has its end as standard input (:func:`line_from_stdin`); a
forked one is called with it and leaves by ``os._exit``, so that it never returns into what its parent was doing. The
end of a process is heard through a pidfd, by whoever awaits it, without a thread or a signal handler. Linux only.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

import structlog

_PR_SET_PDEATHSIG: Final = 1
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid
_READY: Final = b"ready\n"


class Line:
    """The child's end. All methods block."""

    __slots__ = ("_socket",)

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def read(self) -> bytes:
        """Everything that the parent has to say; empty when it has ended. Raises OSError."""
        with self._socket.makefile("rb") as text:
            return text.read()

    def ready(self) -> None:
        """Say so and hang up. Raises OSError when nobody listens any more."""
        with self._socket:
            self._socket.sendall(_READY)


class Life:
    """The parent's view of one child process. It belongs to one thread; one task at a time may await it.

    ``wait`` waits for the end of the process and tells its exit code, as subprocess has it: -9 after SIGKILL. Raises
    OSError when the process cannot be watched; it is killed then.
    """

    def __init__(self, pid: int, line: socket.socket, wait: Callable[[], int]) -> None:
        self.pid = pid
        self.exit_code: int | None = None
        self._line = line
        self._wait = wait
        line.settimeout(0)
        try:
            self._pidfd = os.pidfd_open(pid)
        except OSError:
            line.close()
            os.kill(pid, signal.SIGKILL)
            wait()
            raise

    async def begin(self, message: bytes) -> bool:
        """Tell the process what it waits for; whether it has become ready. False: it hung up."""
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(self._line, message)
            self._line.shutdown(socket.SHUT_WR)
            return await loop.sock_recv(self._line, len(_READY)) == _READY
        except ConnectionError:
            return False

    async def ended(self) -> int:
        """Wait for the end; the exit code."""
        if self.exit_code is None:
            loop, over = asyncio.get_running_loop(), asyncio.Event()
            loop.add_reader(self._pidfd, over.set)
            try:
                await over.wait()
            finally:
                loop.remove_reader(self._pidfd)
        return self._reap()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process has not ended."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                signal.pidfd_send_signal(self._pidfd, number)

    def end(self) -> None:
        """Kill the process, if need be, and wait for its end: for where no loop runs. May be called again."""
        self.send_signal(signal.SIGKILL)
        self._reap()

    def leave(self) -> None:
        """In another child: close what was inherited of this one."""
        self._line.close()
        os.close(self._pidfd)

    def _reap(self) -> int:
        if self.exit_code is None:
            self.exit_code = self._wait()
            self.leave()
        return self.exit_code


def spawn(arguments: Sequence[str]) -> Life:
    """Run this interpreter with ``arguments``. Raises OSError when no process can be had."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:  # and not posix_spawn: LMDB's descriptor would pass on to the child
            command = [sys.executable, *arguments]
            process = subprocess.Popen(command, stdin=theirs.fileno())  # noqa: S603 - our own program
        except BaseException:
            ours.close()
            raise
    return Life(process.pid, ours, process.wait)


def line_from_stdin() -> Line:
    """The line of a spawned process, which ends with its parent from here on."""
    end = socket.socket(fileno=os.dup(0))
    credentials = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _depend_on(_CREDENTIALS.unpack(credentials)[0])
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return Line(end)


def fork_each(courses: Sequence[Callable[[Line], int]]) -> list[Life]:
    """Fork this process once for each; every child runs its course and exits with what that returns.

    Only before there is a thread, a loop or anything else that does not survive a fork. What is open here stays open
    in the children, apart from what belongs to another of them. Raises OSError when no process can be had, with no
    child left.
    """
    lives: list[Life] = []
    try:
        for course in courses:
            lives.append(_fork(course, lives))
    except OSError:
        for life in lives:
            life.end()
        raise
    return lives


def _fork(course: Callable[[Line], int], earlier: Sequence[Life]) -> Life:
    me = os.getpid()
    ours, theirs = socket.socketpair()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # or every child would write it once more
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid == 0:
        ours.close()
        _run(course, Line(theirs), earlier, parent=me)
    theirs.close()
    return Life(pid, ours, lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _run(course: Callable[[Line], int], line: Line, earlier: Sequence[Life], *, parent: int) -> NoReturn:
    """The whole life of a forked child: whatever happens in it, it does not outlast this function."""
    code = 1
    try:
        _depend_on(parent)
        for life in earlier:
            life.leave()
        code = course(line)
    except BaseException:  # noqa: BLE001 - not even SystemExit may climb into the frames of the parent
        structlog.get_logger().exception("a forked process failed")
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _depend_on(parent: int) -> None:
    """Have the kernel end this process when its parent dies, and end it here if that was so already.

    Ctrl-C, which reaches all processes of a terminal, ends it without a traceback as long as it does not listen for it.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
