"""The CRT engine: AWS's own S3 client in C (``awscrt``), under boto3's and PyTorch's S3 transfers.

One client per process, as its makers intend: it opens connections as it sees fit towards its throughput target and
cuts reads into parts of 8 MiB (or the workload's part) that it asks for side by side. It has a host name only, so the
bucket goes into the path of the request or into the Host header as ``--lookup`` says; that works against plain
``http://HOST:PORT`` too (the port is the Host header's). Bodies come in a callback and are counted. A session is one
request at a time. First byte: the first body byte's part, because the client hands out a part when it is whole.
"""

from __future__ import annotations

import time
from concurrent.futures import TimeoutError as LateError
from io import BytesIO
from typing import Any, Final
from urllib.parse import quote, urlsplit

import awscrt.exceptions
from awscrt.auth import AwsCredentialsProvider
from awscrt.http import HttpHeaders, HttpRequest
from awscrt.io import ClientBootstrap, ClientTlsContext, DefaultHostResolver, EventLoopGroup, TlsContextOptions
from awscrt.s3 import S3Client, S3RequestTlsMode, S3RequestType, S3ResponseError, create_default_s3_signing_config

from bench.engines.ports import Engine
from bench.engines.responses import error_code
from bench.operations import List, MakeBucket, Operation, OperationFailed, Probe, Read, ReadBatch, Remove, Write
from bench.plan import Door, LoadPlan

PART_BYTES: Final = 8 << 20
_NAMES: Final[dict[type[Operation], tuple[str, str]]] = {
    Read: ("GET", "GetObject"),
    Write: ("PUT", "PutObject"),
    Probe: ("HEAD", "HeadObject"),
    Remove: ("DELETE", "DeleteObject"),
    List: ("GET", "ListObjectsV2"),
    MakeBucket: ("PUT", "CreateBucket"),
}
_TYPES: Final = {"GetObject": S3RequestType.GET_OBJECT, "PutObject": S3RequestType.PUT_OBJECT}


def open_engine(plan: LoadPlan) -> Engine:
    """One CRT client for the plan's endpoints, which sessions take in turn. Raises ValueError for a mixed door."""
    schemes = {urlsplit(endpoint).scheme for endpoint in plan.door.endpoints}
    if len(schemes) != 1:
        raise ValueError("--engine crt has one client, so all endpoints are http:// or all are https://")
    client = _client(plan, secure=schemes == {"https"})
    endpoints = plan.door.endpoints

    def session(index: int) -> CrtSession:
        return CrtSession(client, plan, urlsplit(endpoints[index % len(endpoints)]).netloc)

    return Engine(session=session, split=None, close=lambda: None)


def _client(plan: LoadPlan, *, secure: bool) -> S3Client:
    door = plan.door
    loops = EventLoopGroup()
    tls = None
    if secure and door.insecure:
        options = TlsContextOptions()
        options.verify_peer = False
        tls = ClientTlsContext(options).new_connection_options()
    provider = _provider(door)
    return S3Client(
        bootstrap=ClientBootstrap(loops, DefaultHostResolver(loops)),
        region=door.region,
        tls_mode=S3RequestTlsMode.ENABLED if secure else S3RequestTlsMode.DISABLED,
        tls_connection_options=tls,
        signing_config=create_default_s3_signing_config(region=door.region, credential_provider=provider)
        if provider
        else None,
        part_size=plan.shape.range_bytes or PART_BYTES,
    )


def _provider(door: Door) -> AwsCredentialsProvider | None:
    if not door.access_key:
        return None
    return AwsCredentialsProvider.new_static(door.access_key, door.secret_key, door.session_token or None)


class CrtSession:
    """One request at a time through the client; a Session."""

    def __init__(self, client: S3Client, plan: LoadPlan, netloc: str) -> None:
        door = plan.door
        self.first_byte_s = 0.0
        self._client = client
        self._timeout_s = plan.timeout_s
        self._host = f"{door.bucket}.{netloc}" if door.lookup == "host" else netloc
        self._root = "/" if door.lookup == "host" else f"/{quote(door.bucket)}/"
        self._count = 0

    def perform(self, operation: Operation) -> int:
        """See Session."""
        names = _NAMES.get(type(operation))
        if names is None:
            raise OperationFailed("NotSupported")
        self.first_byte_s = 0.0
        self._count = 0
        method, name = names
        on_body = None if isinstance(operation, Write | Remove | MakeBucket) else self._came
        headers = self._ask(self._request(method, operation), name, on_body)
        if self.first_byte_s == 0.0:
            self.first_byte_s = time.monotonic()
        return self._judge(operation, headers)

    def close(self) -> None:
        """Nothing: connections are the client's."""

    def _judge(self, operation: Operation, headers: dict[str, str]) -> int:
        announced = int(headers.get("content-length", -1))
        if isinstance(operation, Read) and self._count != operation.length:
            raise OperationFailed("WrongLength")
        if isinstance(operation, Probe) and announced != operation.length:
            raise OperationFailed("WrongLength")
        return self._count

    def _request(self, method: str, operation: Operation) -> HttpRequest:
        headers = HttpHeaders([("Host", self._host), ("Accept", "*/*")])
        body = None
        if isinstance(operation, Read) and operation.span is not None:
            headers.add("Range", f"bytes={operation.span.start}-{operation.span.stop - 1}")
        if isinstance(operation, Write):
            headers.add("Content-Length", str(len(operation.body)))
            body = BytesIO(operation.body)
        return HttpRequest(method, self._target(operation), headers, body)

    def _target(self, operation: Operation) -> str:
        if isinstance(operation, List):
            return f"{self._root}?list-type=2&prefix={quote(operation.prefix, safe='')}"
        if isinstance(operation, MakeBucket | ReadBatch):
            return self._root.rstrip("/") or "/"
        return self._root + quote(operation.key, safe="/-_.~")

    def _ask(self, request: HttpRequest, name: str, on_body: Any) -> dict[str, str]:  # noqa: ANN401 - a callback or None
        """Make the request and wait for its end; the answer's headers by lower-case name. Raises OperationFailed."""
        seen: dict[str, str] = {}

        def on_headers(status_code: int, headers: list[tuple[str, str]], **_: object) -> None:
            del status_code
            seen.update((field.lower(), value) for field, value in headers)

        made = self._client.make_request(
            type=_TYPES.get(name, S3RequestType.DEFAULT),
            operation_name=name,
            request=request,
            on_headers=on_headers,
            on_body=on_body,
        )
        try:
            made.finished_future.result(self._timeout_s)
        except S3ResponseError as fault:
            raise OperationFailed(error_code(fault.status_code, fault.body or b"")) from fault
        except awscrt.exceptions.AwsCrtError as fault:
            raise OperationFailed(fault.name) from fault
        except LateError as fault:
            made.cancel()
            raise OperationFailed("Timeout") from fault
        return seen

    def _came(self, chunk: bytes, **_: object) -> None:
        if self.first_byte_s == 0.0:
            self.first_byte_s = time.monotonic()
        self._count += len(chunk)
