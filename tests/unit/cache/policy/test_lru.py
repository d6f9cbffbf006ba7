from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cache.policy.lru import Lru


def evicted(policy: Lru, marks: dict[bytes, int] | None = None) -> list[bytes]:
    marks = marks or {}
    order = []
    while (chunk_id := policy.evict(lambda key: marks.pop(key, 0))) is not None:
        order.append(chunk_id)
        assert not list(policy.check())
    return order


def of(*names: bytes) -> Lru:
    policy = Lru()
    for name in names:
        policy.added(name, 10)
    return policy


def test_unread_chunks_go_in_order_of_coming() -> None:
    assert evicted(of(b"a", b"b", b"c")) == [b"a", b"b", b"c"]


def test_read_chunks_have_a_second_chance() -> None:
    assert evicted(of(b"a", b"b", b"c"), {b"a": 3, b"b": 1}) == [b"c", b"a", b"b"]


def test_when_all_are_read_forever_the_head_goes() -> None:
    policy = of(b"a", b"b")
    assert policy.evict(lambda _: 3) == b"a"
    assert policy.used_bytes == 10


def test_a_chunk_that_comes_again_is_the_most_recent() -> None:
    policy = of(b"a", b"b")
    policy.added(b"a", 7)
    assert policy.used_bytes == 17
    assert evicted(policy) == [b"b", b"a"]


def test_wrong_sums_are_a_finding() -> None:
    policy = of(b"a")
    policy._used_bytes = 9
    assert list(policy.check()) == ["the queue holds 10 B, used_bytes counts 9 B"]


STEPS = st.lists(st.tuples(st.sampled_from("are"), st.integers(0, 9), st.integers(1, 100)), max_size=60)


@given(STEPS, st.integers(0, 3))
def test_bytes_are_conserved(steps: list[tuple[str, int, int]], marks: int) -> None:
    policy, model = Lru(), dict[bytes, int]()
    for what, number, length in steps:
        name = bytes([number])
        if what == "a":
            policy.added(name, length)
            model[name] = length
        elif what == "r":
            policy.removed(name)
            model.pop(name, None)
        else:
            victim = policy.evict(lambda _: marks)
            assert (victim is None) == (not model)
            model.pop(victim or b"", None)
        assert policy.used_bytes == sum(model.values())
        assert not list(policy.check())
