"""One node at a time per cache directory, by a lock that the kernel ends with the process.

A second node on the same directory would remove the first one's fills and perhaps its index. So the node process locks
``lock`` in the directory (flock(2), exclusive) before it touches anything else there, and keeps what it gets until it
ends. The descriptor is closed on exec: no worker inherits the lock, and it vanishes with the node process however that
ends, SIGKILL included. The file stays; what is in it is the holder's pid, for the message to the next one, and nothing
else is decided by it. Programs that only read (fsck, status) need no lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType

from cache.faults import DiskFailed
from cache.store.places import Places


class DirectoryLock:
    """The lock, held until ``close``, the end of a ``with`` block or the end of the process."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> DirectoryLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let another node have the directory; may be called again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def lock_directory(directory: Path) -> DirectoryLock:
    """Lock a cache directory, which is made when missing, for this process. Does not wait.

    Raises DiskFailed: another process has it ("… is in use by another node (pid …)"), or it cannot be locked at all.
    """
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        fd = os.open(Places(directory).lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _take(fd, directory)
        except BaseException:
            os.close(fd)
            raise
    except OSError as error:
        raise DiskFailed(f"cannot lock {directory}: {error}") from error
    return DirectoryLock(fd)


def _take(fd: int, directory: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DiskFailed(f"{directory} is in use by another node (pid {_holder(fd)})") from error
    with contextlib.suppress(OSError):  # a full disk: the lock holds, and only a message will lack the pid
        os.pwrite(fd, f"{os.getpid():<20}\n".encode(), 0)


def _holder(fd: int) -> str:
    pid = os.pread(fd, 32, 0).strip()
    return pid.decode() if pid.isdigit() else "unknown"
