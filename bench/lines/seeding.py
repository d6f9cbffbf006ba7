"""A cache that holds much, made without asking an upstream for all of it: chunks and catalog entries, written directly.

The gateway's own store and catalog write them, in the directory of a node that has run (it trusts its index only after
it has prepared it). One object is read through the gateway first: its catalog entry is the model for the others, so
that versions, headers and origin are those that the gateway itself would have written. A shell.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.operations import BenchObject
from bench.peers import BUCKET
from cache.chunks import CHUNK_BYTES_DEFAULT, Chunk
from cache.store.catalog import LmdbCatalog
from cache.store.environment import Environment, open_environment
from cache.store.files import FileStore
from cache.store.mapped import Tokens
from cache.tally import Tally
from cache.versions import Entry, ObjectRef, ObjectVersion

_QUOTA_BYTES: Final = 1 << 40


class SeedFailed(Exception):
    """The cache could not be filled; one line for people."""


@contextmanager
def seeding(directory: Path, model: BenchObject) -> Iterator[Seeder]:
    """A seeder for the cache in ``directory``, which knows ``model`` already. Raises SeedFailed, DiskFault."""
    environment = open_environment(directory)
    store = FileStore(directory, quota_bytes=_QUOTA_BYTES, tally=Tally(), open_files_max=64)
    try:
        yield Seeder(environment, store, model)
    finally:
        store.close()


class Seeder:
    """Writes objects like its model."""

    def __init__(self, environment: Environment, store: FileStore, model: BenchObject) -> None:
        self._tokens = Tokens(environment.places.tokens)
        self._catalog = LmdbCatalog(environment, self._tokens, Tally())
        self._store = store
        found = self._catalog.find(ObjectRef(BUCKET, model.key))
        if found is None:
            raise SeedFailed(f"the cache does not know {model.key}")
        self._model = found

    def know(self, objects: Iterable[BenchObject]) -> None:
        """Catalog entries alone."""
        for each in objects:
            self._catalog.put(ObjectRef(BUCKET, each.key), self._entry(each))

    def hold(self, objects: Iterable[BenchObject]) -> None:
        """Catalog entries, and their chunks with random bytes; objects of one chunk only."""
        for each in objects:
            entry = self._entry(each)
            writer = self._store.create(Chunk(entry.version, CHUNK_BYTES_DEFAULT, 0))
            writer.append(os.urandom(each.size))
            writer.seal()
            self._catalog.put(ObjectRef(BUCKET, each.key), entry)

    def _entry(self, each: BenchObject) -> Entry:
        model = self._model.version
        version = ObjectVersion(model.origin, BUCKET, each.key, model.etag, each.size, model.version_id)
        token = self._catalog.token(ObjectRef(BUCKET, each.key))
        return replace(self._model, version=version, checked_at=time.monotonic(), token=token)
