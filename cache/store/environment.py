"""The LMDB environment of a cache directory: opened once per process, prepared once per node.

A worker calls :func:`open_environment`. The node process calls :func:`prepare` before any worker opens it: there the
index is tried out in a process of its own (a garbage page may end the process that reads it), thrown away when it
does not read whole or when the machine has booted since (nothing here is synced, so after a crash of the machine any
page may be missing), and the tokens are renewed when they cannot be trusted. Losing the index loses no chunk: the
files are the truth, recovery indexes them again while the node serves.

LMDB allows one opening of a file per process, so openings are shared by the data file's inode. Nothing is synced:
a killed process loses no transaction, because its pages are the kernel's.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

import lmdb

from cache.faults import DiskFailed
from cache.store.mapped import Tokens
from cache.store.places import Places
from cache.store.probe import reads_whole

MAP_BYTES: Final = 8 << 30
READERS_MAX: Final = 1024
LOCK_BYTES: Final = 80 << 10
PROBE_TIMEOUT_S: Final = 60
DATABASES: Final = ("catalog", "chunks", "arrivals", "meta")
_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, eq=False, weakref_slot=True, slots=True)
class Environment:
    """The opened environment and its databases (LMDB handles; only the store's modules look inside)."""

    places: Places
    lmdb: Any
    catalog: Any
    chunks: Any
    arrivals: Any
    meta: Any


_opened: WeakValueDictionary[tuple[int, int], Environment] = WeakValueDictionary()


def open_environment(directory: Path) -> Environment:
    """This process's one opening of the directory's index; everything missing is made. Raises DiskFailed."""
    places = Places(directory)
    try:
        for path in (places.chunks, places.filling, places.index):
            os.makedirs(path, mode=0o700, exist_ok=True)
        return _known(places) or _open(places)
    except (OSError, lmdb.Error) as error:
        raise DiskFailed(f"cannot open the index in {places.index}: {error}") from error


def prepare(directory: Path) -> Environment:
    """The node process, before any worker runs: an index that reads whole, tokens to trust. Raises DiskFailed."""
    places = Places(directory)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        boot = Path(_BOOT_ID).read_text().strip()
        trusted = _read(places.boot) == boot and (
            _known(places) is not None or reads_whole(places.index, PROBE_TIMEOUT_S)
        )
        if not trusted:
            shutil.rmtree(places.index, ignore_errors=True)
        environment = open_environment(directory)
        tokens = Tokens(places.tokens)
        if tokens.fresh or not trusted:
            tokens.renew_all()
        _note_boot(places, boot)
        environment.lmdb.reader_check()
    except (OSError, lmdb.Error) as error:
        raise DiskFailed(f"cannot prepare {directory}: {error}") from error
    return environment


def _note_boot(places: Places, boot: str) -> None:
    """Write the boot id whole or not at all: an empty file would cost the index at the next start. Raises OSError."""
    if _read(places.boot) == boot:
        return
    temporary = f"{places.boot}.new"
    Path(temporary).write_text(boot)
    os.replace(temporary, places.boot)


def _known(places: Places) -> Environment | None:
    try:
        stat = os.stat(f"{places.index}/data.mdb")
    except OSError:
        return None
    return _opened.get((stat.st_dev, stat.st_ino))


def _open(places: Places) -> Environment:
    _allocate(f"{places.index}/lock.mdb")
    env = lmdb.open(
        places.index,
        map_size=MAP_BYTES,
        max_dbs=len(DATABASES),
        max_readers=READERS_MAX,
        max_spare_txns=8,
        sync=False,
        metasync=False,
        readahead=False,
        mode=0o600,
    )
    handles = [env.open_db(name.encode()) for name in DATABASES]
    environment = Environment(places, env, *handles)
    stat = os.stat(f"{places.index}/data.mdb")
    _opened[stat.st_dev, stat.st_ino] = environment
    return environment


def _allocate(path: str) -> None:
    """Give LMDB's lock file its blocks, as a write to a hole on a full disk would kill the process.

    Only before this process opens the environment: closing any descriptor of the file drops LMDB's locks on it.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, LOCK_BYTES)
    finally:
        os.close(fd)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, ValueError):
        return ""
