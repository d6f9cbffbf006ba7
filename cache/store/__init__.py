"""The local store: chunk files on this node's disk, and the LMDB environment that its processes share.

The files are the truth, LMDB is an index of them and may vanish at any time. Workers use ``files.FileStore`` and
``catalog.LmdbCatalog``; the node process alone prepares the directory, recovers, evicts and scrubs.
"""
