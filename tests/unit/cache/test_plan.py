import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.chunks import Chunk
from cache.plan import Way, is_glimpse, judge_way, plan_steps
from cache.versions import ByteSpan, ObjectVersion
from cache.views import Owner


@given(st.integers(1, 5000), st.integers(1, 700), st.data())
def test_the_steps_cover_the_span_exactly_in_order(size, chunk_bytes, data):
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    version = ObjectVersion("o", "b", "k", '"e"', size)
    position = start
    for step in plan_steps(version, ByteSpan(start, stop), chunk_bytes):
        assert step.chunk.span.start + step.span.start == position
        assert step.span.stop <= step.chunk.length
        position += step.span.length
    assert position == stop


def test_ways():
    me = Owner("n1", 0)
    assert judge_way(Owner("n1", 0), me) is Way.FILL
    assert judge_way(Owner("n1", 1), me) is Way.ALONG
    assert judge_way(Owner("n2", 0), me) is Way.RELAY


MIB = 1 << 20


@pytest.mark.parametrize(
    ("index", "start", "stop", "is_one"),
    [
        (0, 0, 1000, False),
        (0, MIB - 1, MIB + 1000, False),
        (0, MIB, MIB + 1000, True),
        (0, 2 * MIB, 4 * MIB, True),
        (0, 2 * MIB, 4 * MIB + 1, False),
        (0, 7 * MIB, 8 * MIB, False),  # it goes on in the next chunk
        (1, 3 * MIB, 4 * MIB, True),  # the object ends there
    ],
)
def test_small_and_far(index, start, stop, is_one):
    chunk = Chunk(ObjectVersion("o", "b", "k", '"e"', 12 * MIB), 8 * MIB, index)
    assert is_glimpse(chunk, ByteSpan(start, stop)) == is_one
