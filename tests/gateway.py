"""One worker in the test's own process and loop, over a fake upstream: real sockets, real files, no child processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.meter.counters import WorkerMeter
from gateway.settings import Settings
from gateway.worker import Place, Worker, upstream_of
from tests.cluster import ACCESS_KEY, CLUSTER_SECRET, IDENTITIES, SECRET_KEY, free_ports
from tests.doubles.fake_s3 import FakeS3


@dataclass
class RunningWorker:
    """A worker that serves; ``send`` speaks raw HTTP to it."""

    port: int
    worker: Worker
    meter: WorkerMeter
    fake: FakeS3
    cache: Path

    @property
    def endpoint(self) -> str:
        """What a client sets as endpoint_url."""
        return f"http://127.0.0.1:{self.port}"

    async def send(self, *parts: bytes) -> bytes:
        """Everything that the server answers to ``parts`` on a new connection, which is half-closed after them."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for part in parts:
            writer.write(part)
            await writer.drain()
        data = await reader.read()
        writer.close()
        await writer.wait_closed()
        return data


@asynccontextmanager
async def running_worker(
    directory: Path, *, immutable: bool = False, **sections: dict[str, Any]
) -> AsyncIterator[RunningWorker]:
    """A worker over a fresh :class:`FakeS3`; ``sections`` are settings (``server={"auth": "none"}``)."""
    port = free_ports(1)
    (directory / "identities.toml").write_text(IDENTITIES)
    run_dir = directory / "run"
    run_dir.mkdir()
    async with FakeS3() as fake:
        document: dict[str, dict[str, Any]] = {
            "upstream": {"endpoint": fake.endpoint, "access_key": "upstream", "secret_key": "upstream-secret"},
            "server": {"port": port, "workers": 1, "drain_s": 0.0},
            "cache": {"directory": str(directory / "cache"), "quota": 1 << 30, "chunk_size": 1 << 20},
            "identities": {"file": str(directory / "identities.toml")},
            "cluster": {"node_id": "n0", "peer_port": free_ports(1), "secret": CLUSTER_SECRET},
        }
        for name, values in sections.items():
            document.setdefault(name, {}).update(values)
        rules = {"freshness": [{"mode": "immutable"}]} if immutable else {}
        settings = Settings.model_validate_json(json.dumps(document | rules))
        meter = WorkerMeter("", 0)
        async with upstream_of(settings, meter.tally) as upstream:
            worker = Worker(settings, Place(0, run_dir, run_dir / "leases"), upstream, meter)
            stop, ready = asyncio.Event(), asyncio.Event()
            serving = asyncio.create_task(worker.run(stop, ready.set))
            waiting = asyncio.create_task(ready.wait())
            await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            try:
                if serving.done():
                    await serving
                yield RunningWorker(port, worker, meter, fake, directory / "cache")
            finally:
                stop.set()
                await serving
        meter.close()


__all__ = ["ACCESS_KEY", "SECRET_KEY", "RunningWorker", "running_worker"]
