"""Reads a whole LMDB environment, as a program: exit status 0 when all of it can be read.

``python probe.py <index directory>``. LMDB trusts its pages: a flipped pointer or a cut file may end the reading
process by a signal, so the node process has it done by this one and looks at the status alone. Only the standard
library and ``lmdb`` are imported; nothing of the project, so that it also runs by its path.
"""

from __future__ import annotations

import os
import sys

import lmdb


def read_all(path: str) -> int:
    """How many items all databases hold; raises lmdb.Error or ValueError when they cannot be read."""
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
        count = sum(1 for key, value in txn.cursor() if key and len(value) >= 0)
        if count != txn.stat(database)["entries"]:
            raise ValueError("a database counts other entries than it holds")
    return count


if __name__ == "__main__":
    read_all(sys.argv[1])
