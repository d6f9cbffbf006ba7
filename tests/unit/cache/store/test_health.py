from __future__ import annotations

from cache.store.health import REST_S, STRIKES_MAX, WINDOW_S, Health


def struck(*times: float) -> Health:
    health = Health()
    for now in times:
        health.strike(now)
    assert not list(health.check())
    return health


def test_four_strikes_are_borne() -> None:
    assert struck(*range(STRIKES_MAX - 1)).usable(STRIKES_MAX)


def test_five_strikes_in_a_minute_switch_off_for_half_a_minute() -> None:
    health = struck(0, 10, 20, 30, 59)
    assert not health.usable(59)
    assert not health.usable(59 + REST_S - 0.1)
    assert health.usable(59 + REST_S)


def test_five_strikes_over_more_than_a_minute_are_borne() -> None:
    assert struck(0, 20, 40, 59, WINDOW_S + 1).usable(WINDOW_S + 1)


def test_on_probation_one_strike_is_enough() -> None:
    health = struck(0, 0, 0, 0, 0)
    health.strike(REST_S + 1)
    assert not health.usable(REST_S + 2)
    assert health.usable(2 * REST_S + 1)


def test_a_minute_without_strikes_ends_probation() -> None:
    health = struck(0, 0, 0, 0, 0)
    health.strike(REST_S + WINDOW_S + 1)
    assert health.usable(REST_S + WINDOW_S + 2)


def test_late_strikes_of_operations_begun_before_do_not_prolong_the_pause() -> None:
    health = struck(0, 0, 0, 0, 0, 1, 2)
    assert health.usable(REST_S)


def test_too_many_kept_strikes_are_a_finding() -> None:
    health = Health()
    health._strikes = health._strikes.__class__([0.0] * 9)
    assert list(health.check()) == ["9 strikes kept, 5 are enough"]


def test_the_rest_lasts_as_long_as_it_is_told() -> None:
    health = Health(rest_s=2.0)
    for _ in range(STRIKES_MAX):
        health.strike(0)
    assert not health.usable(1.9)
    assert health.usable(2)
