from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.workloads.permutation import Permutation


@given(st.integers(1, 3000), st.integers(0, 1 << 32))
def test_every_thing_is_at_one_position(count: int, seed: int) -> None:
    order = Permutation(count, random.Random(seed).randrange)
    assert len(order) == count
    assert sorted(order[position] for position in range(count)) == list(range(count))


def test_another_chance_is_another_order_and_the_same_is_the_same() -> None:
    orders = [[Permutation(1000, random.Random(seed).randrange)[at] for at in range(1000)] for seed in (1, 2, 1)]
    assert orders[0] == orders[2] != orders[1]


def test_the_order_looks_shuffled() -> None:
    """Neighbours end up far apart: the mean distance is about a third of the count, as in a random order."""
    order = Permutation(10_000, random.Random(3).randrange)
    steps = [abs(order[at + 1] - order[at]) for at in range(9_999)]
    assert 3000 < sum(steps) / len(steps) < 3700
    fixed = sum(order[at] == at for at in range(10_000))
    assert fixed < 10


@pytest.mark.parametrize("position", [-1, 5])
def test_outside_there_is_nothing(position: int) -> None:
    with pytest.raises(IndexError):
        Permutation(5, random.Random(0).randrange)[position]


def test_nothing_has_no_order() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Permutation(0, random.Random(0).randrange)
