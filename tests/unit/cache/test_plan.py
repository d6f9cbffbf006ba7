from hypothesis import given
from hypothesis import strategies as st

from cache.plan import Way, judge_way, plan_steps
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
