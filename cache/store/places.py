"""Where things lie in a cache directory. Paths only: nothing here touches the disk.

``chunks/<2 hex>/<30 hex>``  whole chunk files, named by chunk id alone
``filling/<id>.<pid>.<n>``   chunk files in the making; another worker of the node may open one to read along
``index/``                   the LMDB environment (catalog, chunks, arrivals, meta)
``tokens``, ``touches``      memory that the processes of the node share
``boot``                     the boot id of the machine at which the index was last opened
``lock``                     locked by the node process that uses the directory
"""

from __future__ import annotations

from pathlib import Path


class Places:
    """The paths of one cache directory, as strings where they are used often."""

    __slots__ = ("boot", "chunks", "directory", "filling", "index", "lock", "tokens", "touches")

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.chunks = f"{directory}/chunks"
        self.filling = f"{directory}/filling"
        self.index = f"{directory}/index"
        self.tokens = f"{directory}/tokens"
        self.touches = f"{directory}/touches"
        self.boot = f"{directory}/boot"
        self.lock = f"{directory}/lock"

    def chunk(self, chunk_id: bytes) -> str:
        """The file of a whole chunk."""
        name = chunk_id.hex()
        return f"{self.chunks}/{name[:2]}/{name[2:]}"

    def temporary(self, chunk_id: bytes, pid: int, number: int) -> str:
        """The file of a chunk that process ``pid`` is filling; ``number`` makes it unique in the process."""
        return f"{self.filling}/{chunk_id.hex()}.{pid}.{number}"

    @staticmethod
    def chunk_id(fan: str, name: str) -> bytes | None:
        """The chunk id that ``chunks/<fan>/<name>`` spells, or None."""
        if len(fan) != 2 or len(name) != 30 or (fan + name) != (fan + name).lower():
            return None
        try:
            return bytes.fromhex(fan + name)
        except ValueError:
            return None

    @staticmethod
    def filler(name: str) -> int | None:
        """The pid in the name of a temporary, or None."""
        parts = name.split(".")
        return int(parts[1]) if len(parts) == 3 and parts[1].isdecimal() else None
