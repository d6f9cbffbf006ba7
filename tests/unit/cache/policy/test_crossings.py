from hypothesis import given
from hypothesis import strategies as st

from cache.policy.crossings import NAMES_MAX, Crossings

MIB = 1 << 20


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_what_is_read_whole_is_admitted_at_the_second_time():
    crossings = Crossings(100 * MIB)
    assert [crossings.admits(b"a", 8 * MIB, 8 * MIB) for _ in range(3)] == [False, True, False]


def test_slices_add_up():
    crossings = Crossings(100 * MIB)
    assert [crossings.admits(b"a", MIB, 4 * MIB) for _ in range(5)] == [False] * 4 + [True]


def test_a_long_scan_admits_nothing_however_often():
    crossings = Crossings(100 * MIB)
    for _ in range(3):
        assert not any(crossings.admits(name(number), 8 * MIB, 8 * MIB) for number in range(100))
    assert not list(crossings.check())


def test_a_hot_set_within_the_window_is_admitted_whole():
    crossings = Crossings(100 * MIB)
    hot = [name(number) for number in range(12)]
    assert not any(crossings.admits(one, 8 * MIB, 8 * MIB) for one in hot)
    assert all(crossings.admits(one, 8 * MIB, 8 * MIB) for one in hot)


def test_names_are_bounded():
    crossings = Crossings(1 << 60)
    for number in range(NAMES_MAX + 1):
        crossings.admits(name(number), 1, 1)
    assert not crossings.admits(name(0), 1, 1)
    assert crossings.admits(name(NAMES_MAX), 1, 1)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 10)), max_size=60), st.integers(0, 40))
def test_the_sums_are_right_and_within_the_window(reads, window):
    crossings = Crossings(window)
    for number, count in reads:
        crossings.admits(name(number), count, 10)
        assert not list(crossings.check())
        assert crossings._total_bytes <= window
