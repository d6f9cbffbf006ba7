"""The obstore engine: the Rust ``object_store`` client, as Python programs get it.

``get`` and the body taken as a stream of Rust buffers (no copy into Python bytes), with obstore's own pool and its own
retries, for as long as the run's timeout. A session is a thread's share of one store, whose calls release the
interpreter while they wait. It knows objects, not buckets. First byte: when ``get`` returns, or, for a range, when the
range is there, because it is handed out whole.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from bench.engines.ports import Engine
from bench.operations import List, MakeBucket, Operation, OperationFailed, Probe, Read, ReadBatch, Remove, Write
from bench.plan import LoadPlan

_CODES: Final = {
    "FileNotFoundError": "NoSuchKey",
    "PermissionDeniedError": "AccessDenied",
    "UnauthenticatedError": "AccessDenied",
}
_PAGE_KEYS: Final = 1000


def open_engine(plan: LoadPlan) -> Engine:
    """A store for each of the plan's endpoints, taken in turn."""
    stores = [_store(plan, endpoint) for endpoint in plan.door.endpoints]
    return Engine(session=lambda index: ObstoreSession(stores[index % len(stores)]), split=None, close=lambda: None)


def _store(plan: LoadPlan, endpoint: str) -> S3Store:
    door = plan.door
    hosted = door.lookup == "host"
    scheme, _, netloc = endpoint.partition("://")
    keys: dict[str, Any] = {
        "access_key_id": door.access_key,
        "secret_access_key": door.secret_key,
        "session_token": door.session_token or None,
    }
    return S3Store(
        door.bucket,
        endpoint=f"{scheme}://{door.bucket}.{netloc}" if hosted else endpoint,
        region=door.region,
        virtual_hosted_style_request=hosted,
        client_options={
            "allow_http": True,
            "allow_invalid_certificates": door.insecure,
            "timeout": timedelta(seconds=plan.timeout_s),
        },
        retry_config={"retry_timeout": timedelta(seconds=plan.timeout_s)},
        **({name: value for name, value in keys.items() if value} if door.access_key else {"skip_signature": True}),
    )


class ObstoreSession:
    """One thread's use of the store; a Session."""

    def __init__(self, store: S3Store) -> None:
        self.first_byte_s = 0.0
        self._store = store

    def perform(self, operation: Operation) -> int:
        """See Session."""
        try:
            return self._perform(operation)
        except (BaseError, OSError, ValueError) as fault:
            name = type(fault).__name__
            raise OperationFailed(_CODES.get(name, name)) from fault

    def close(self) -> None:
        """Nothing: connections are the store's."""

    def _perform(self, operation: Operation) -> int:
        match operation:
            case Read():
                return self._read(operation)
            case Write(key, body):
                obstore.put(self._store, key, body, use_multipart=False)
            case Probe(key, length):
                if obstore.head(self._store, key)["size"] != length:
                    raise OperationFailed("WrongLength")
            case List(prefix):
                next(iter(obstore.list(self._store, prefix, chunk_size=_PAGE_KEYS)), None)
            case Remove(key):
                obstore.delete(self._store, key)
            case MakeBucket() | ReadBatch():
                raise OperationFailed("NotSupported")
        self.first_byte_s = time.monotonic()
        return 0

    def _read(self, operation: Read) -> int:
        span = operation.span
        if span is not None:
            count = len(obstore.get_range(self._store, operation.key, start=span.start, end=span.stop))
            self.first_byte_s = time.monotonic()
        else:
            answer = obstore.get(self._store, operation.key)
            self.first_byte_s = time.monotonic()
            count = sum(len(piece) for piece in answer.stream())
        if count != operation.length:
            raise OperationFailed("WrongLength")
        return count
