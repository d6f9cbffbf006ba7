"""What is done for a ride in a thread: its file is made, written and sealed."""

from __future__ import annotations

from typing import Final

from cache.fills.ride import Ride
from cache.ports import ChunkReader, ChunkWriter, Store

WRITES_MAX: Final = 8


def make_file(store: Store, ride: Ride, pieces: tuple[bytes | memoryview, ...]) -> ChunkWriter:
    """In a thread: a file for the ride, and its first bytes.

    The ride may be over by the time that a slow disk has made it. Whoever is second, this thread or the loop, sees what
    the other did, and drops the file.
    """
    writer = ride.writer = store.create(ride.chunk)
    if pieces:
        append_all(writer, pieces)
    if ride.over:
        writer.abandon()
    return writer


def store_whole(store: Store, ride: Ride, pieces: tuple[bytes | memoryview, ...]) -> ChunkReader:
    """In a thread, once for all: the file of a chunk whose bytes, and upstream's word that they are all, are here."""
    return make_file(store, ride, pieces).seal()


def append_all(writer: ChunkWriter, pieces: tuple[bytes | memoryview, ...]) -> None:
    """In a thread: one way there and back for all of them; many small ones become one write."""
    for piece in pieces if len(pieces) <= WRITES_MAX else (b"".join(pieces),):
        writer.append(piece)
