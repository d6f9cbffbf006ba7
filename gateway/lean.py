"""Imports without what a node has no use for: they are most of its start.

Inside :func:`lean_imports` the garbage collector rests (it would walk again and again through classes and functions
that live as long as the process), pydantic searches no installed package for plugins, packages that the caller can do
without seem not to be installed, and aiohttp, which makes its default TLS context when it is imported, finds no
certificates of the machine to read. So whoever speaks TLS through aiohttp brings a context of his own; without one
every certificate is refused. The upstream's is ``gateway.upstream.tls_of``.

Only the standard library is imported here.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

_ENVIRONMENT: Final[Mapping[str, str]] = {
    "PYDANTIC_DISABLE_PLUGINS": "__all__",
    "SSL_CERT_FILE": os.devnull,
    "SSL_CERT_DIR": os.devnull,
}


@contextmanager
def lean_imports(*, without: str = "") -> Iterator[None]:
    """Import inside, early and in one thread. Afterwards everything is as it was, also after an error.

    ``without``: a top-level package that seems not to be installed meanwhile, unless it is imported already. If the
    collector was on it is on again, and what there is by then is frozen: no collection looks at it, no fork copies it.
    """
    collecting = gc.isenabled()
    gc.disable()
    former = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    hidden = bool(without) and without not in sys.modules
    if hidden:
        sys.modules.update({without: None})  # type: ignore[dict-item]  # what makes an import fail
    try:
        yield
    finally:
        if hidden:
            del sys.modules[without]
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if collecting:
            gc.freeze()
            gc.enable()
