"""Counters: a layout that only grows, in private or given memory."""

from __future__ import annotations

from cache.tally import Count, Tally


def test_the_layout_has_no_gap_and_fits() -> None:
    assert [int(count) for count in Count] == list(range(len(Count)))
    assert len(Count) * 8 <= Tally.BYTES


def test_it_counts_up_and_levels_go_both_ways() -> None:
    tally = Tally()
    assert set(tally.read().values()) == {0}
    tally.add(Count.FILLS_STARTED)
    tally.add(Count.FILL_BYTES, 1 << 40)
    tally.add(Count.FILLS_NOW, 2)
    tally.add(Count.FILLS_NOW, -1)
    counted = {name: value for name, value in tally.read().items() if value}
    assert counted == {"fills_started": 1, "fill_bytes": 1 << 40, "fills_now": 1}


def test_given_memory_is_shared() -> None:
    memory = memoryview(bytearray(Tally.BYTES)).cast("Q")
    Tally(memory).add(Count.CONNECTIONS, 3)
    assert Tally(memory).read()["connections"] == 3
