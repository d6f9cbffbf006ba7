import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.budgets import Budget


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(ValueError, match="fills"):
        Budget("fills", 0)


@given(st.lists(st.integers(1, 20)))
def test_never_over_the_limit_but_for_one_large_taker(amounts):
    budget = Budget("bytes", 10)
    held = []
    for amount in amounts:
        if budget.take(amount):
            held.append(amount)
            assert budget.used == sum(held)
            assert budget.used <= 10 or len(held) == 1
    for amount in held:
        budget.give(amount)
    assert budget.used == 0
    assert not list(budget.check())


def test_check_finds_what_was_given_twice():
    budget = Budget("bytes", 10)
    budget.give()
    assert list(budget.check()) == ["budget bytes was given back 1 more than was taken"]
