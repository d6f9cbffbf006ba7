"""The fake S3 as a process of its own, for tests and benchmarks that start several nodes against one upstream.

``python -m tests.doubles.fake_s3_process --port N [--control-port N] [--delay-ms N] [--rate BYTES/S]
[--data bucket/prefix:COUNT:SIZE]…`` prints ``{"endpoint": …, "control": …}`` on its first line and runs until it is
killed. The control path speaks HTTP:

    GET  /calls[?key=K]        [[method, bucket, key, [start, stop] | null, status], …]
    POST /forget /calm         POST /trouble {Trouble's fields}
    POST /generate {bucket, key, size, version}          POST /put?bucket=B&key=K  (body: the bytes)
    POST /hold?key=K  /release?key=K                     GET /waiting?key=K&count=N  (answers when so many came)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys

from aiohttp import web

from tests.doubles.fake_s3 import FakeS3


class Control:
    """The control path of one :class:`FakeS3`."""

    def __init__(self, fake: FakeS3) -> None:
        self._fake = fake
        self._holds: dict[str, contextlib.AsyncExitStack] = {}

    def application(self) -> web.Application:
        """The aiohttp application."""
        application = web.Application(client_max_size=1 << 30)
        application.router.add_route("*", "/{what}", self._do)
        return application

    async def _do(self, request: web.Request) -> web.Response:
        match request.match_info["what"]:
            case "calls":
                key = request.query.get("key")
                return web.json_response([call for call in self._fake.calls if key in {None, call.key}])
            case "forget":
                self._fake.forget()
            case "calm":
                self._fake.calm()
            case "trouble":
                self._fake.trouble(**await request.json())
            case "generate":
                self._fake.shelf.generate(**await request.json())
            case "put":
                self._fake.shelf.put(request.query["bucket"], request.query["key"], await request.read())
            case _:
                return await self._meet(request)
        return web.json_response({})

    async def _meet(self, request: web.Request) -> web.Response:
        key = request.query.get("key", "")
        match request.match_info["what"]:
            case "hold":
                self._holds[key] = contextlib.AsyncExitStack()
                await self._holds[key].enter_async_context(self._fake.held(key))
            case "release":
                await self._holds.pop(key).aclose()
            case "waiting":
                await self._fake.waiting(key, int(request.query["count"]))
            case _:
                raise web.HTTPNotFound
        return web.json_response({})


def _shelve(fake: FakeS3, spec: str) -> None:
    """``bucket/prefix:COUNT:SIZE`` (or ``bucket`` alone): COUNT generated objects prefix0000…"""
    name, _, numbers = spec.partition(":")
    bucket, _, prefix = name.partition("/")
    fake.shelf.buckets.setdefault(bucket, {})
    if numbers:
        count, size = map(int, numbers.split(":"))
        for number in range(count):
            fake.shelf.generate(bucket, f"{prefix}{number:04d}", size, version=1)


async def _run(options: argparse.Namespace) -> None:
    async with FakeS3(port=options.port, delay_s=options.delay_ms / 1000, rate=options.rate) as fake:
        for spec in options.data:
            _shelve(fake, spec)
        runner = web.AppRunner(Control(fake).application(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", options.control_port).start()
        control = f"http://127.0.0.1:{runner.addresses[0][1]}"
        sys.stdout.write(json.dumps({"endpoint": fake.endpoint, "control": control}) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--data", action="append", default=[])
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
