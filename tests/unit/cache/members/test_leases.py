"""Bounded leases: what may be trusted when, and what a missed invalidation does to it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cache.members.leases import Grant, HeldLeases, Mourning, judge_ask, judge_miss, may_forgo

LEASE_S = 5.0


def miss(grant: Grant, *, began_at: float = 100.0, gone: bool = False, opened_at: float = 0.0) -> tuple[Grant, float]:
    return judge_miss(grant, fresh=99, began_at=began_at, gone=gone, opened_at=opened_at, lease_s=LEASE_S)


def test_a_lease_counts_from_the_asking_and_ends() -> None:
    held = HeldLeases(["a", "b"])
    held.renewed("a", asked_at=10.0, seconds=LEASE_S)
    assert not held.trusted(10.0)
    assert held.lacking(10.0) == ["b"]
    held.renewed("b", asked_at=11.0, seconds=LEASE_S)
    assert held.trusted(14.9)
    assert not held.trusted(15.0)


def test_an_older_or_refused_renewal_shortens_nothing() -> None:
    held = HeldLeases(["a"])
    held.renewed("a", asked_at=10.0, seconds=LEASE_S)
    held.renewed("a", asked_at=9.0, seconds=LEASE_S)
    held.renewed("a", asked_at=12.0, seconds=0.0)
    assert held.trusted(14.9)


def test_a_lease_holds_until_it_ends_and_a_strangers_never() -> None:
    held = HeldLeases(["a"])
    assert not held.holds("a", 0.0)
    held.renewed("a", asked_at=10.0, seconds=LEASE_S)
    assert held.holds("a", 14.9)
    assert not held.holds("a", 15.0)
    assert not held.holds("stranger", 10.0)


def test_alone_a_node_trusts_itself() -> None:
    assert HeldLeases().trusted(1e12)


def test_a_new_view_needs_newcomers_and_not_those_who_left() -> None:
    held = HeldLeases(["a", "b"])
    held.renewed("a", asked_at=0.0, seconds=LEASE_S)
    held.retain(["a"])
    assert held.trusted(1.0)
    held.retain(["a", "c"])
    assert not held.trusted(1.0)
    held.renewed("b", asked_at=0.0, seconds=LEASE_S)
    assert held.lacking(1.0) == ["c"]


def test_only_the_present_standing_is_granted() -> None:
    grant = Grant(0.0, standing=7)
    assert grant.suspended
    assert judge_ask(grant, quoted=0, now=1.0) is None
    assert judge_ask(grant, quoted=7, now=1.0) == Grant(1.0, 7, 7)


def test_a_miss_suspends_and_waits_for_the_last_lease() -> None:
    missed, until = miss(Grant(98.0, 7, 7))
    assert missed.suspended
    assert until == 98.0 + LEASE_S
    assert judge_ask(missed, quoted=7, now=101.0) is None
    assert judge_ask(missed, quoted=99, now=101.0) is not None


def test_after_a_start_even_who_was_granted_nothing_is_waited_for() -> None:
    assert miss(Grant(0.0, 7), opened_at=99.0)[1] == 99.0 + LEASE_S


def test_a_dead_member_is_not_waited_for_unless_it_got_a_lease_meanwhile() -> None:
    assert miss(Grant(98.0, 7, 7), gone=True)[1] == 0.0
    missed, until = miss(Grant(100.5, 7, 7), gone=True)
    assert missed.suspended
    assert until == 100.5 + LEASE_S


def test_only_a_suspended_member_whose_lease_is_over_need_not_be_told() -> None:
    suspended, held = Grant(98.0, 8, 7), Grant(98.0, 7, 7)
    assert not may_forgo(suspended, now=102.9, opened_at=0.0, lease_s=LEASE_S)
    assert may_forgo(suspended, now=103.0, opened_at=0.0, lease_s=LEASE_S)
    assert not may_forgo(suspended, now=103.0, opened_at=100.0, lease_s=LEASE_S)
    assert not may_forgo(held, now=1000.0, opened_at=0.0, lease_s=LEASE_S)


def test_the_first_refusal_after_a_granted_lease_makes_distrust_and_one_a_lease_later() -> None:
    never = Mourning()
    assert never.must_distrust(now=0.5, lease_s=LEASE_S)
    mourning = Mourning(heard_at=10.0).distrusted(asked_at=11.0)
    assert not mourning.must_distrust(now=15.9, lease_s=LEASE_S)
    assert mourning.must_distrust(now=16.0, lease_s=LEASE_S)
    late = mourning.distrusted(asked_at=16.0)
    assert late == Mourning(10.0, 11.0, 16.0)
    assert not late.must_distrust(now=1000.0, lease_s=LEASE_S)
    assert Mourning(20.0, 11.0, 16.0).must_distrust(now=21.0, lease_s=LEASE_S)


def test_a_refusal_asked_for_before_the_last_granted_lease_settles_nothing() -> None:
    assert Mourning(heard_at=10.0).distrusted(asked_at=9.9).must_distrust(now=10.5, lease_s=LEASE_S)


@given(
    asked_at=st.floats(0, 100),
    travel_s=st.floats(0, 10),
    skew_s=st.floats(-1e6, 1e6),
    missed_after_s=st.floats(0, 20),
)
def test_a_writer_never_returns_while_the_member_still_trusts(
    asked_at: float, travel_s: float, skew_s: float, missed_after_s: float
) -> None:
    """The two clocks differ by ``skew_s``; true time is the member's."""
    held = HeldLeases(["writer"])
    granted_at = asked_at + travel_s
    grant = judge_ask(Grant(-1e9, 7), quoted=7, now=granted_at + skew_s)
    assert grant is not None
    held.renewed("writer", asked_at=asked_at, seconds=LEASE_S)
    began_at = granted_at + missed_after_s + skew_s
    _, until = miss(grant, began_at=began_at, opened_at=-1e9)
    returns_at = max(until, began_at) - skew_s
    assert not held.trusted(returns_at + 1e-6)
