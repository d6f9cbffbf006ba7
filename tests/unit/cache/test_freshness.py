import pytest

from cache.freshness import Freshness, FreshnessRule, Verdict
from cache.versions import Entry, ObjectRef, ObjectVersion

ENTRY = Entry(ObjectVersion("http://u", "b", "k", '"e"', 5), (), checked_at=100.0, token=1)


@pytest.mark.parametrize(
    ("mode", "age", "trusted", "verdict"),
    [
        ("ttl", 0.0, True, Verdict.FRESH),
        ("ttl", 4.9, True, Verdict.FRESH),
        ("ttl", 5.0, True, Verdict.STALE),
        ("ttl", -0.1, True, Verdict.STALE),
        ("ttl", 0.0, False, Verdict.STALE),
        ("always", 0.0, True, Verdict.STALE),
        ("immutable", 1e9, True, Verdict.FRESH),
        ("immutable", 0.0, False, Verdict.STALE),
    ],
)
def test_modes(mode, age, trusted, verdict):
    rules = Freshness([FreshnessRule(mode=mode)])
    assert rules.judge(ObjectRef("b", "k"), ENTRY, now=100.0 + age, trusted=trusted) is verdict


def test_the_first_rule_that_covers_the_key_decides_and_the_default_covers_the_rest():
    rules = Freshness(
        [
            FreshnessRule("data*", "raw/", "always"),
            FreshnessRule("data*", "", "immutable"),
            FreshnessRule("x", ttl_s=1.0),
        ]
    )
    assert rules.rule_for(ObjectRef("data1", "raw/a")).mode == "always"
    assert rules.rule_for(ObjectRef("data1", "a")).mode == "immutable"
    assert rules.rule_for(ObjectRef("x", "a")).ttl_s == 1.0
    assert rules.rule_for(ObjectRef("y", "a")) == FreshnessRule()
