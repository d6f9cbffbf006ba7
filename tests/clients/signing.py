"""Requests and aws-chunked bodies signed by botocore and by this file alone: the gateway's own code signs nothing here.

From "Signature calculations for the authorization header: transferring payload in multiple chunks" and "… with trailing
headers" of the Amazon S3 API reference.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

EMPTY = hashlib.sha256(b"").hexdigest()


class _StatedPayload(S3SigV4Auth):
    """botocore's signer, for a body that is announced by the name of its mode."""

    def __init__(self, access_key: str, secret_key: str, payload: str) -> None:
        super().__init__(Credentials(access_key, secret_key), "s3", "us-east-1")
        self._stated = payload

    def payload(self, request: AWSRequest) -> str:
        return self._stated


@dataclass
class Signed:
    """A signed PUT of a streamed body."""

    url: str
    access_key: str
    secret_key: str
    payload: str
    headers: dict[str, str] = field(default_factory=dict)

    def sign(self) -> None:
        """Sign the head; what it needs is added to ``headers``."""
        request = AWSRequest("PUT", self.url, headers=self.headers)
        _StatedPayload(self.access_key, self.secret_key, self.payload).add_auth(request)
        self.headers = dict(request.headers.items())

    def chunked(self, body: bytes, sizes: list[int], trailer: str = "") -> bytes:
        """The body in signed chunks of these sizes (the last one takes the rest); ``trailer``: ``name:value``."""
        previous, out, position = self.headers["Authorization"].rpartition("Signature=")[2], b"", 0
        for size in [*sizes, len(body)]:
            data = body[position : position + size]
            position += len(data)
            if data:
                previous, framed = self._chunk(previous, data)
                out += framed
        previous, framed = self._chunk(previous, b"")
        out += framed[: -len(b"\r\n")]
        if not trailer:
            return out + b"\r\n"
        digest = hashlib.sha256(f"{trailer}\n".encode()).hexdigest()
        last = self._seal(f"AWS4-HMAC-SHA256-TRAILER\n{self._scope()}\n{previous}\n{digest}")
        return out + f"{trailer}\r\nx-amz-trailer-signature:{last}\r\n\r\n".encode()

    def _chunk(self, previous: str, data: bytes) -> tuple[str, bytes]:
        told = f"{previous}\n{EMPTY}\n{hashlib.sha256(data).hexdigest()}"
        signature = self._seal(f"AWS4-HMAC-SHA256-PAYLOAD\n{self._scope()}\n{told}")
        return signature, b"%x;chunk-signature=%s\r\n%s\r\n" % (len(data), signature.encode(), data)

    def _scope(self) -> str:
        date = self.headers["X-Amz-Date"]
        return f"{date}\n{date[:8]}/us-east-1/s3/aws4_request"

    def _seal(self, text: str) -> str:
        key = f"AWS4{self.secret_key}".encode()
        for word in (self.headers["X-Amz-Date"][:8], "us-east-1", "s3", "aws4_request"):
            key = hmac.digest(key, word.encode(), "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()

    def send(self, body: bytes) -> tuple[int, bytes]:
        """Status and document."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        try:
            connection.request("PUT", parts.path, body, self.headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
