"""What may deviate from a house rule, and why. An exception that nothing needs any more fails the test."""

from __future__ import annotations

SHELLS = {  # modules that may touch a loop, a socket, a file or a clock (`*` in the house of DESIGN.md)
    "cache/cache.py": "the read page awaits its ports",
    "cache/fills/driver.py": "acts for the machines",
    "cache/store/files.py": "chunk files",
    "cache/store/catalog.py": "LMDB",
    "cache/store/recovery.py": "walks the files",
    "cache/store/scrub.py": "walks the files",
    "cache/peers/client.py": "sockets",
    "cache/peers/server.py": "sockets",
    "cache/members/static.py": "awaits changes of the view",
    "gateway/meter/export.py": "reads the workers' files",
    "gateway/upstream.py": "HTTP to upstream",
    "gateway/client/reader.py": "the loader's connections",
    "gateway/client/fsspec.py": "the loader's connections",
    "gateway/client/torch.py": "the loader's connections",
    "gateway/reads.py": "awaits the cache",
    "gateway/forward.py": "awaits upstream",
    "gateway/shortcut.py": "local sockets",
    "gateway/http": "the clients' sockets",
    "gateway/sources.py": "reads the settings file, the environment and this machine's facts",
    "gateway/node.py": "composition root",
    "gateway/worker.py": "composition root",
    "gateway/cli": "the terminal",
}

ALLOWED: dict[tuple[str, str], str] = {  # (rule, path): why
}
