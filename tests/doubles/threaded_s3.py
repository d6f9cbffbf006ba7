"""The fake S3 for blocking clients: it runs on a loop of its own, in a thread; the test talks to it over its port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.doubles.fake_s3 import FakeS3


@contextmanager
def threaded_s3() -> Iterator[FakeS3]:
    """A running fake S3. Its shelf and troubles may be changed from the test's thread between requests."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = FakeS3()
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
        yield server
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
