"""Memory full of what was read: holes are read, they exist meanwhile, and no more of them than was allowed."""

from __future__ import annotations

from pathlib import Path

from bench.lines.page_cache import full_page_cache, memory_bytes


def test_holes_are_read_and_gone_afterwards(tmp_path: Path) -> None:
    path, share = tmp_path / "holes", 32 * 1024**2 / memory_bytes("MemTotal")
    with full_page_cache(path, share) as fill:
        assert path.stat().st_size <= 32 * 1024**2
        assert not path.stat().st_blocks
        fill()
        fill()
    assert not path.exists()


def test_a_machine_has_memory_and_less_of_it_is_free() -> None:
    assert 0 < memory_bytes("MemFree") < memory_bytes("MemTotal")
