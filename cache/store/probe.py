"""Reads a whole LMDB environment in a process of its own, and tells whether that went well.

LMDB trusts its pages: a flipped pointer or a cut file may end the process that reads it by a signal, or keep it reading
for ever. So the node process has a fork of itself do it and looks at the exit status alone. A fork, because a new
interpreter would take longer to start than to read 20,000 chunks; it keeps no descriptor of its parent (whose lock on
the directory would outlive it) and no alarm but its own, and ends without anything that a process does at its end.
"""

from __future__ import annotations

import os
import signal
from operator import itemgetter
from typing import Final

import lmdb

_FIRST_FREE_FD: Final = 3
_FDS_MAX: Final = 1 << 30


def reads_whole(path: str, timeout_s: int) -> bool:
    """Whether all of the environment at ``path`` can be read, within that time. Raises OSError: no process to be had.

    For a process that has not opened the environment and does nothing else meanwhile: it waits.
    """
    pid = os.fork()
    if pid == 0:
        _try(path, timeout_s)
    return os.waitpid(pid, 0)[1] == 0


def _try(path: str, timeout_s: int) -> None:
    """The life of the fork; it does not return."""
    status = 1
    try:
        os.closerange(_FIRST_FREE_FD, _FDS_MAX)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(timeout_s)
        read_all(path)
        status = 0
    finally:
        os._exit(status)


def read_all(path: str) -> int:
    """How many items all databases hold; raises lmdb.Error, OSError or ValueError when they cannot be read."""
    env = lmdb.open(path, readonly=True, max_dbs=16, lock=False, subdir=True)
    last_page = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if os.path.getsize(os.path.join(path, "data.mdb")) < last_page and env.stat()["entries"]:
        raise ValueError("the file is shorter than its pages")
    with env.begin() as txn:
        names = [bytes(name) for name, _ in txn.cursor()]
    return sum(_read_database(env, name) for name in names)


def _read_database(env: lmdb.Environment, name: bytes) -> int:
    database = env.open_db(name, create=False)
    with env.begin(db=database) as txn:
        count = sum(map(bool, map(itemgetter(0), txn.cursor())))  # copies every key and value; no key is empty
        if count != txn.stat(database)["entries"]:
            raise ValueError("a database counts other entries than it holds")
    return count
