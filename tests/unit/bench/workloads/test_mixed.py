from __future__ import annotations

from collections import Counter
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from bench.operations import List, Probe, Read, Remove, Write
from bench.plan import Mix, Shape
from bench.workloads.mixed import OWN_KEYS, mixed_operations, own_objects, written_by_all
from tests.unit.bench.workloads.given import lane, terms

WORDS = {"get": "GET", "put": "PUT", "stat": "STAT", "delete": "DELETE", "list": "LIST"}


def test_shares_are_kept() -> None:
    mix = Mix(get=50, put=20, stat=10, delete=10, list=10)
    counts = Counter(each.kind for each in islice(mixed_operations(terms(5, mix=mix), lane()), 10_000))
    assert all(abs(counts[WORDS[kind]] / 100 - getattr(mix, kind)) < 3 for kind in WORDS)


@given(st.integers(0, 999))
def test_what_is_read_was_prepared_or_written_and_not_removed(seed: int) -> None:
    there = {each.key for each in terms(3).objects}
    own = {each.key for each in own_objects("p/", 10, 4)}
    for operation in islice(mixed_operations(terms(3, mix=Mix(put=30)), lane(4, 8)), 300):
        match operation:
            case Read(key, length) | Probe(key, length):
                assert key in there
                assert length == 10
            case Write(key, body):
                assert key in own
                assert len(body) == 10
                there.add(key)
            case Remove(key):
                assert key in own & there
                there.remove(key)
            case List(prefix):
                assert prefix == "p/10/"


def test_a_delete_with_nothing_to_delete_writes() -> None:
    operations = mixed_operations(terms(1, mix=Mix(0, 0, 0, 1, 0)), lane())
    assert [each.kind for each in islice(operations, 4)] == ["PUT", "DELETE", "PUT", "DELETE"]


def test_a_lane_writes_few_keys_and_a_put_replaces() -> None:
    writes = list(islice(mixed_operations(terms(1, mix=Mix(0, 1, 0, 0, 0)), lane()), 3 * OWN_KEYS))
    assert len({each.key for each in writes if isinstance(each, Write)}) == OWN_KEYS


def test_no_two_lanes_write_the_same_and_all_is_named_afterwards() -> None:
    left = written_by_all(Shape(prefix="p/", object_bytes=10, concurrent=3))
    assert len({each.key for each in left}) == 3 * OWN_KEYS
    assert set(own_objects("p/", 10, 2)) <= set(left)
