from __future__ import annotations

import http.server
import threading
import urllib.request
from pathlib import Path

import pytest

from bench.servers.child import ServerFailed
from bench.servers.varnish import find_varnish, serve_varnish, varnish_version


def is_here() -> bool:
    try:
        find_varnish()
    except ServerFailed:
        return False
    return True


class Counting(http.server.BaseHTTPRequestHandler):
    """Says hello, and counts how often it did."""

    count = 0

    def do_GET(self) -> None:
        Counting.count += 1
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        return


@pytest.mark.skipif(not is_here(), reason="varnish is not installed: bench/install-debian.sh")
def test_a_signed_request_is_a_hit_the_second_time(tmp_path: Path) -> None:
    assert varnish_version()[0].isdigit()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counting) as upstream:
        thread = threading.Thread(target=upstream.serve_forever)
        thread.start()
        try:
            with serve_varnish(f"http://127.0.0.1:{upstream.server_port}", tmp_path / "state") as varnish:
                for signature in ("one", "two"):
                    request = urllib.request.Request(f"{varnish.endpoint}/b/k", headers={"Authorization": signature})
                    with urllib.request.urlopen(request, timeout=20) as answer:
                        assert answer.read() == b"hello"
        finally:
            upstream.shutdown()
            thread.join()
    assert Counting.count == 1
