"""Blocks: memory is used again, and never while somebody still looks into it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.wires.blocks import BLOCK_BYTES, BLOCKS_MAX, Blocks

SIZES = st.one_of(st.integers(1, BLOCK_BYTES), st.just(BLOCK_BYTES), st.integers(1, 4096))


@given(st.lists(st.tuples(SIZES, st.integers(0, 20)), max_size=150))
def test_nobody_writes_into_what_another_still_holds(steps: list[tuple[int, int]]) -> None:
    blocks, held = Blocks(64), list[tuple[int, memoryview]]()
    for number, (size, let_go) in enumerate(steps):
        taken = blocks.take(size)
        assert len(taken) == size
        taken[:1], taken[-1:] = bytes([number]), bytes([number])
        held.append((number, taken[size // 2 :]))  # a part is enough
        del taken
        del held[: let_go // 10]
        assert all(view[-1] == value for value, view in held)


def test_what_was_let_go_of_is_taken_again() -> None:
    blocks = Blocks(64)
    seen = set()
    for _ in range(100):
        seen.add(where(blocks.take(BLOCK_BYTES)))
    assert len(seen) <= 8


def test_more_than_are_kept_may_be_held() -> None:
    blocks = Blocks(64)
    held = [blocks.take(BLOCK_BYTES) for _ in range(2 * BLOCKS_MAX)]
    assert len({where(view) for view in held}) == 2 * BLOCKS_MAX


def where(view: memoryview) -> int:
    """Which memory it is of."""
    return id(view.obj)
