from __future__ import annotations

from pathlib import Path

import pytest

from cache.faults import DiskFailed
from cache.store.mapped import MARK_MAX, TOKEN_SLOTS, Tokens, Touches


def test_a_renewed_token_is_seen_through_another_mapping(tmp_path: Path) -> None:
    path = str(tmp_path / "tokens")
    one, other = Tokens(path), Tokens(path)
    assert one.fresh
    assert not other.fresh
    before = other.words[17]
    one.renew(17)
    assert other.words[17] == one.words[17] != before
    assert other.words[16] == 0
    assert not list(one.check())


def test_all_tokens_are_renewed(tmp_path: Path) -> None:
    tokens = Tokens(str(tmp_path / "tokens"))
    tokens.renew_all()
    assert len({tokens.words[slot] for slot in range(TOKEN_SLOTS)}) == TOKEN_SLOTS
    assert not list(tokens.check())


def test_a_file_of_another_size_is_fresh(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_bytes(b"short")
    assert Tokens(str(tmp_path / "tokens")).fresh


def test_marks_rise_to_three_and_are_taken_once(tmp_path: Path) -> None:
    path = str(tmp_path / "touches")
    worker, node = Touches(path), Touches(path)
    for _ in range(MARK_MAX + 2):
        worker.touch(Touches.slot(b"\x01" * 16))
    worker.touch(Touches.slot(b"\x02" * 16))
    assert not list(node.check())
    assert [node.take(bytes([n]) * 16) for n in (1, 1, 2, 3)] == [MARK_MAX, 0, 1, 0]


def test_what_is_no_file_is_a_disk_fault(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    with pytest.raises(DiskFailed):
        Tokens(str(tmp_path / "tokens"))


def test_wrong_memory_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_bytes(b"\xff" * 8 * TOKEN_SLOTS)
    assert list(Tokens(str(tmp_path / "tokens")).check())
    (tmp_path / "touches").write_bytes(b"\xff" * (1 << 20))
    assert list(Touches(str(tmp_path / "touches")).check())
