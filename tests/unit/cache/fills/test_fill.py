from hypothesis import given
from hypothesis import strategies as st

from cache.faults import UpstreamBroken, UpstreamRefused, UpstreamUnreachable
from cache.fills.fill import BATCH_BYTES, LINGER_S, RESUMES_MAX, Append, Discard, Fill, Resume, Seal
from cache.versions import ByteSpan


def append(fill, work):
    assert isinstance(work, Append)
    data = b"".join(work.pieces)
    assert work.length == len(data)
    fill.wrote(work.length)
    return data


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1))
def test_whatever_the_cuts_exactly_the_bytes_are_written_once(pieces):
    whole = b"".join(pieces)
    fill = Fill(len(whole))
    written = b""
    for number, piece in enumerate(pieces):
        work = fill.arrived(piece, now=number * LINGER_S / 3)
        if work is not None:
            written += append(fill, work)
    assert written == whole
    assert isinstance(fill.ended(), Seal)


def test_the_first_piece_goes_on_at_once_later_ones_in_batches():
    fill = Fill(4 * BATCH_BYTES)
    sizes = [1000, 10, 990, 2000, 4000]
    due = [True, False, True, True, True]
    for size, now in zip(sizes, due, strict=True):
        work = fill.arrived(bytes(size), 0.0)
        assert (work is not None) == now
        if work is not None:
            append(fill, work)
    append(fill, fill.arrived(bytes(2 * BATCH_BYTES), 0.0))
    assert fill.written == 2 * BATCH_BYTES
    assert fill.arrived(bytes(3 * BATCH_BYTES - 1 - fill.received), 0.0) is None
    assert len(append(fill, fill.arrived(b"a", 0.0))) == BATCH_BYTES
    assert fill.written == fill.received == 3 * BATCH_BYTES


@given(st.lists(st.integers(1, 2 * BATCH_BYTES), min_size=1, max_size=20))
def test_batches_end_on_boundaries_once_the_first_is_passed(sizes):
    fill = Fill(sum(sizes))
    for size in sizes:
        work = fill.arrived(bytes(size), 0.0)
        if work is not None:
            append(fill, work)
        assert fill.written <= BATCH_BYTES or fill.written % BATCH_BYTES == 0 or fill.written == fill.length
        assert fill.received - fill.written < BATCH_BYTES
    assert fill.written == fill.length


def test_a_byte_does_not_linger():
    fill = Fill(100)
    append(fill, fill.arrived(b"aaa", 0.0))
    assert fill.arrived(b"b", 1.0) is None
    assert append(fill, fill.arrived(b"c", 1.0 + LINGER_S)) == b"bc"


def test_bytes_beyond_the_chunk_discard_it():
    work = Fill(3).arrived(b"abcd", 0.0)
    assert isinstance(work, Discard)
    assert isinstance(work.fault, UpstreamBroken)


def test_an_early_end_discards_it():
    fill = Fill(3)
    append(fill, fill.arrived(b"ab", 0.0))
    assert isinstance(fill.ended(), Discard)


def test_a_break_flushes_then_asks_for_the_rest_a_bounded_number_of_times():
    fill = Fill(10)
    append(fill, fill.arrived(b"ab", 0.0))
    assert fill.arrived(b"c", 0.0) is None
    fault = UpstreamUnreachable("reset")
    assert append(fill, fill.broke(fault)) == b"c"
    for _ in range(RESUMES_MAX):
        assert fill.broke(fault) == Resume(ByteSpan(3, 10))
    assert fill.broke(fault) == Discard(fault)


def test_nothing_is_asked_for_again_that_cannot_help():
    untouched = Fill(10)
    fault = UpstreamUnreachable("refused")
    assert untouched.broke(fault) == Discard(fault)
    begun = Fill(10)
    append(begun, begun.arrived(b"ab", 0.0))
    refused = UpstreamRefused(404)
    assert begun.broke(refused) == Discard(refused)


def test_a_complaint_after_the_last_byte_discards_the_chunk():
    fill = Fill(2)
    append(fill, fill.arrived(b"ab", 0.0))
    fault = UpstreamBroken("a body beyond its length")
    assert fill.broke(fault) == Discard(fault)
