"""Lean imports: what is left out meanwhile, and that nothing of it remains. In processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

WATCHED = """
import gc, os, sys
from gateway.lean import lean_imports

def state():
    return dict(os.environ), {name for name in sys.modules if name.startswith("rich")}, gc.isenabled()

os.environ["SSL_CERT_FILE"] = "/somebody's"
os.environ.pop("SSL_CERT_DIR", None)
before = state()
"""
FAILS = """
try:
    with lean_imports(without="rich"):
        assert not gc.isenabled() and os.environ["SSL_CERT_FILE"] == os.environ["SSL_CERT_DIR"] == os.devnull
        import rich
except ImportError:
    pass
else:
    raise AssertionError("rich was there")
assert state() == before
import rich.console
"""
NESTED = """
with lean_imports(without="rich"):
    with lean_imports():
        pass
    assert not gc.isenabled() and sys.modules["rich"] is None
assert state() == before
"""
RESTS = """
gc.disable()
with lean_imports():
    pass
assert not gc.isenabled()
assert not gc.get_freeze_count()
"""
KNOWN = """
import rich
with lean_imports(without="rich"):
    import rich.text
assert sys.modules["rich"] is rich
"""
NODE = """
with lean_imports(without="rich"):
    import gateway.node
assert state() == before
import ssl
from aiohttp import connector
assert not connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509"]
assert connector._SSL_CONTEXT_VERIFIED.verify_mode is ssl.CERT_REQUIRED  # it trusts nobody, not everybody
assert "numpy" not in sys.modules
from gateway.cli.verbs import run
assert run(["config", "--upstream", "http://127.0.0.1:9"]) == 0  # a table of rich's
"""


@pytest.mark.parametrize("script", [FAILS, NESTED, RESTS, KNOWN, NODE])
def test_what_is_left_out_is_back_afterwards(script: str) -> None:
    ran = subprocess.run([sys.executable, "-c", WATCHED + script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
