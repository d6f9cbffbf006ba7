"""The fake upstream as a process of its own, and what fault tests tell it over its control path."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from tests.cluster import ROOT


class Item(NamedTuple):
    """A generated object: its bytes are ``body_of(key, version, 0, size)``."""

    key: str
    size: int
    version: int = 1


class UpstreamProcess:
    """``python -m tests.doubles.fake_s3_process``, between ``with``."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = self._control = ""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.doubles.fake_s3_process", *self._arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdout is not None
        told = json.loads(self._process.stdout.readline())
        self.endpoint, self._control = told["endpoint"], told["control"]
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def generate(self, bucket: str, item: Item) -> None:
        """Store a generated object."""
        self._post("generate", {"bucket": bucket, "key": item.key, "size": item.size, "version": item.version})

    @contextmanager
    def trouble(self, **what: Any) -> Any:
        """Trouble while the block lasts (all of it ends with the block)."""
        self._post("trouble", what)
        try:
            yield
        finally:
            self._post("calm", {})

    def gets(self) -> int:
        """GETs of objects so far (lists are not meant)."""
        with urllib.request.urlopen(f"{self._control}/calls", timeout=30) as answer:
            return sum(1 for method, _, key, _, _ in json.load(answer) if method == "GET" and key)

    def waiting(self, key: str, count: int = 1) -> None:
        """Return once so many requests for the key have come."""
        query = urlencode({"key": key, "count": count})
        urllib.request.urlopen(f"{self._control}/waiting?{query}", timeout=30).close()

    def _post(self, path: str, document: dict[str, Any]) -> None:
        request = urllib.request.Request(f"{self._control}/{path}", json.dumps(document).encode(), method="POST")
        urllib.request.urlopen(request, timeout=30).close()
