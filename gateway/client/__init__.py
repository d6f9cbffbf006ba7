"""The data loader's side: reads objects through a gateway, several at a time.

``reader`` is the plain interface (bytes in, bytes out), ``torch`` holds a map-style and an iterable data set,
``fsspec`` a file system. This package imports nothing that the server needs (no aiohttp, lmdb, pydantic, uvloop), so
that it can be put into a training image by itself; torch and fsspec are used where they are installed.
"""
