"""Several processes on one directory, while somebody damages files and another evicts: right bytes or a miss."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cache.policy.s3fifo import S3Fifo
from cache.store.environment import open_environment, prepare
from cache.store.evict import Evictor
from cache.store.index import ChunkIndex
from cache.store.recovery import FANS, Recovery
from cache.store.scrub import Scrub, fsck
from cache.tally import Tally
from tests.unit.cache.store.samples import store_in

QUOTA = 4 << 20
WORKER = """
import asyncio, os, random, sys
from pathlib import Path
from cache.faults import DiskFault
from tests.unit.cache.store.samples import *

directory, seed = Path(sys.argv[1]), int(sys.argv[2])
dice, counts = random.Random(seed), dict(hits=0, fills=0, damaged=0)
store = store_in(directory, quota_bytes=4 << 20, open_files_max=20, verify=dice.choice(["auto", "always"]))

def damage(path):
    try:
        raw = bytearray(path.read_bytes())
    except OSError:
        return
    match dice.randrange(4):
        case 0: raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        case 1: raw = raw[:dice.randrange(len(raw))]
        case 2: raw = raw + b"x"
        case 3: raw = bytearray(len(raw))
    copy = path.with_name(f"damaged.{seed}")
    copy.write_bytes(raw)
    copy.rename(path)

async def turn(chunk):
    store.touch(chunk)
    reader = store.find(chunk)
    if reader is not None:
        try:
            assert await read_all(reader) == body_of(chunk), "wrong bytes"
            counts["hits"] += 1
            return
        except DiskFault:
            counts["damaged"] += 1
    try:
        reader = fill(store, chunk)
    except DiskFault:
        return
    counts["fills"] += 1
    assert await read_all(reader) == body_of(chunk), "wrong bytes after a fill"

async def main():
    for number in range(250):
        pick = dice.randrange(60)
        chunk = chunk_of(pick, 1 + pick * 7001)
        if number % 20 == 19:
            damage(path_of(directory, chunk))
        elif number % 50 == 49:
            path_of(directory, chunk).unlink(missing_ok=True)
        elif number % 10 == 9:
            store.sweep()
        else:
            await turn(chunk)

asyncio.run(main())
assert not list(store.check()), list(store.check())
print(counts)
"""


def test_processes_that_fill_read_damage_and_evict_never_see_wrong_bytes(tmp_path: Path) -> None:
    environment = prepare(tmp_path)
    evictor = Evictor(environment, S3Fifo(QUOTA), Tally(), quota_bytes=QUOTA, chunk_bytes=1 << 18)
    root = Path(__file__).parents[4]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), str(seed)],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for seed in range(3)
    ]
    while any(worker.poll() is None for worker in workers):
        evictor.step()
    outputs = [worker.communicate(timeout=60)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], outputs
    recovery, scrub = Recovery(environment, Tally()), Scrub(environment, Tally())
    for fan in range(FANS):
        recovery.settle(fan)
    while scrub.step(100):
        pass
    assert not list(fsck(tmp_path)), outputs
    assert not [*evictor.check(), *store_in(tmp_path).check()]
    assert ChunkIndex(open_environment(tmp_path)).used() <= QUOTA
