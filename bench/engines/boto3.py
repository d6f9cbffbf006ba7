"""The boto3 engine: the client that most programs use, as it comes.

``get_object`` and the body read whole, with boto3's own retries, checksums and pool; nothing is tuned but the pool's
size (one connection per session) and the addressing style, which is the user's to say. A session is a thread's share
of one client, because a boto3 client is thread-safe and costly to make. First byte: when ``get_object`` returns.
"""

from __future__ import annotations

import time
from typing import Any, Final

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from bench.engines.ports import Engine
from bench.operations import List, MakeBucket, Operation, OperationFailed, Probe, Read, ReadBatch, Remove, Write
from bench.plan import LoadPlan

_STYLES: Final = {"path": "path", "host": "virtual"}


def open_engine(plan: LoadPlan) -> Engine:
    """Boto3 clients for the plan's endpoints, taken in turn."""
    clients = [_client(plan, endpoint) for endpoint in plan.door.endpoints]

    def close() -> None:
        for client in clients:
            client.close()

    return Engine(
        session=lambda index: Boto3Session(clients[index % len(clients)], plan.door.bucket), split=None, close=close
    )


def _client(plan: LoadPlan, endpoint: str) -> Any:  # noqa: ANN401 - boto3 makes its clients' classes at run time
    door = plan.door
    config = Config(
        max_pool_connections=max(plan.shape.concurrent, 1),
        s3={"addressing_style": _STYLES[door.lookup]},
        **({} if door.access_key else {"signature_version": UNSIGNED}),
    )
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=door.access_key or None,
        aws_secret_access_key=door.secret_key or None,
        aws_session_token=door.session_token or None,
        region_name=door.region,
        verify=False if door.insecure else None,
        config=config,
    )


class Boto3Session:
    """One thread's use of the client; a Session."""

    def __init__(self, client: Any, bucket: str) -> None:  # noqa: ANN401 - see _client
        self.first_byte_s = 0.0
        self._client = client
        self._bucket = bucket

    def perform(self, operation: Operation) -> int:
        """See Session."""
        try:
            return self._perform(operation)
        except ClientError as fault:
            raise OperationFailed(str(fault.response.get("Error", {}).get("Code", "ClientError"))) from fault
        except (BotoCoreError, HTTPError, OSError) as fault:
            raise OperationFailed(type(fault).__name__) from fault

    def close(self) -> None:
        """Nothing: connections are the client's."""

    def _perform(self, operation: Operation) -> int:
        match operation:
            case Read():
                return self._read(operation)
            case Write(key, body):
                self._client.put_object(Bucket=self._bucket, Key=key, Body=bytes(body))
            case Probe(key, length):
                if self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"] != length:
                    raise OperationFailed("WrongLength")
            case Remove(key):
                self._client.delete_object(Bucket=self._bucket, Key=key)
            case List(prefix):
                self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix)
            case MakeBucket():
                self._client.create_bucket(Bucket=self._bucket)
            case ReadBatch():
                raise OperationFailed("NotSupported")
        self.first_byte_s = time.monotonic()
        return 0

    def _read(self, operation: Read) -> int:
        span = operation.span
        ranged = {"Range": f"bytes={span.start}-{span.stop - 1}"} if span else {}
        answer = self._client.get_object(Bucket=self._bucket, Key=operation.key, **ranged)
        self.first_byte_s = time.monotonic()
        with answer["Body"] as body:
            count = len(body.read())
        if count != operation.length:
            raise OperationFailed("WrongLength")
        return count
