"""A worker's counters land in the right words, and survive what a worker may meet."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.pieces import Cause, Source
from cache.tally import Count
from gateway.meter import layout
from gateway.meter.counters import WorkerMeter
from gateway.meter.readings import OTHER, ClientKey, Pages, Roster, Sums


def _read(meter: WorkerMeter) -> Sums:
    sums = Sums()
    sums.add(Pages(meter._words), Roster(), alive=True)
    return sums


@pytest.fixture
def meter(tmp_path: Path) -> Iterator[WorkerMeter]:
    made = WorkerMeter(str(tmp_path), 3)
    yield made
    made.close()


def test_the_header_says_who_writes(meter: WorkerMeter, tmp_path: Path) -> None:
    pages = Pages(meter._words)
    assert pages.ready()
    assert pages.head()[:2] == (os.getpid(), 3)
    assert meter.path == str(tmp_path / f"worker-3.{os.getpid()}.meter")
    assert (tmp_path / meter.path).stat().st_blocks * 512 >= layout.FILE_BYTES


def test_everything_told_is_read_back(meter: WorkerMeter) -> None:
    client = meter.client("rank3", "llm", "3", 8, 7e9)
    client.sent(Source.LOCAL, 1000)
    client.sent(Source.FORWARDED, 5)
    client.head(300)
    client.waited(Cause.DISK, 0.25)
    client.answered("GetObject", 206, Source.LOCAL, 0.0001, 0.5)
    client.answered("PutObject", 503, Source.FORWARDED, 500.0, 1000.0)
    client.began()
    client.began()
    client.ended()
    meter.tally.add(Count.CHUNK_HITS_LOCAL, 7)
    sums = _read(meter)
    counts = sums.clients[ClientKey("rank3", "llm", "3")]
    assert sums.tally[Count.CHUNK_HITS_LOCAL] == 7
    assert (counts.gpus, counts.target) == (8, 7 * 10**9)
    assert counts.body == [1000, 0, 0, 5]
    assert counts.words[layout.HEAD] == 300
    assert counts.stalls == [0, 0, 250_000, 0, 0]
    assert counts.words[layout.IN_FLIGHT] == 1
    cells = {cell[1:]: counts.words[cell[0]] for cell in layout.REQUEST_CELLS if counts.words[cell[0]]}
    assert cells == {("GetObject", "2xx", "local"): 1, ("write", "5xx", "forwarded"): 1}
    assert counts.first_byte(Source.LOCAL) == ([0, 1] + [0] * (layout.BUCKETS - 2), 100)
    assert counts.duration(Source.FORWARDED) == ([0] * (layout.BUCKETS - 1) + [1], 10**9)
    assert list(meter.check()) == ["client 'rank3' 'llm' '3' has requests in flight"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["GetObject", "HeadObject", "ListObjectsV2", "what"]),
            st.integers(min_value=0, max_value=999),
            st.sampled_from(list(Source)),
            st.floats(min_value=0.0, max_value=1e4),
            st.floats(min_value=0.0, max_value=1e4),
        ),
        max_size=30,
    )
)
def test_no_answer_is_lost_or_lands_elsewhere(answers: list[tuple[str, int, Source, float, float]]) -> None:
    meter = WorkerMeter("", 0)
    client = meter.client("a", "", "", 0, 0.0)
    for answer in answers:
        client.answered(*answer)
    counts = _read(meter).clients[ClientKey("a", "", "")]
    assert counts.requests == len(answers)
    for source in Source:
        here = [answer for answer in answers if answer[2] is source]
        assert sum(counts.first_byte(source)[0]) == sum(counts.duration(source)[0]) == len(here)
        assert counts.first_byte(source)[1] == sum(int(answer[3] * 1e6) for answer in here)
        assert counts.duration(source)[1] == sum(int(answer[4] * 1e6) for answer in here)
    assert counts.body == [0, 0, 0, 0]
    assert counts.stalls == [0, 0, 0, 0, 0]


def test_a_client_has_one_meter_whatever_its_target(meter: WorkerMeter) -> None:
    first = meter.client("a", "j", "0", 8, 7e9)
    assert meter.client("a", "j", "0", 8, 7e9) is first
    assert meter.client("a", "j", "0", 4, 9e9) is first
    assert meter.client("a", "j", "1", 8, 7e9) is not first
    counts = _read(meter).clients[ClientKey("a", "j", "0")]
    assert (counts.gpus, counts.target) == (4, 9 * 10**9)


def test_beyond_a_thousand_clients_all_are_other(meter: WorkerMeter) -> None:
    for number in range(3 * layout.CLIENTS_MAX):
        for _ in range(2):
            meter.client(f"c{number}", "j", "", 1, 1e9).sent(Source.PEER, 10)
    for number in range(3 * layout.CLIENTS_MAX):
        meter.client(f"c{number}", "j", "", 2, 1e9).sent(Source.PEER, 1)
    sums = _read(meter)
    assert not list(meter.check())
    assert sums.clients[ClientKey("c999", "j", "")].body[Source.PEER] == 21
    assert sums.clients[OTHER].body[Source.PEER] == 21 * 2 * layout.CLIENTS_MAX
    assert sums.clients[OTHER].gpus == 0
    assert len(sums.clients) == layout.CLIENTS_MAX + 1


@pytest.mark.parametrize("name", ["\x00" * 500, "\U0001f600" * 500, '"\\' * 500, "\udcff", ""])
def test_odd_names_stay_within_their_page(meter: WorkerMeter, name: str) -> None:
    meter.client(name, name, name, 0, 0.0).head(1)
    meter.client("next", "", "", 0, 0.0).head(2)
    keys = Pages(meter._words).keys()
    assert len(keys) == 2
    assert keys[1] == ClientKey("next", "", "")


def test_a_second_meter_of_the_same_name_leaves_the_first_alone(tmp_path: Path) -> None:
    meters = [WorkerMeter(str(tmp_path), 0) for _ in range(3)]
    assert len({meter.path for meter in meters}) == 3
    for meter in meters:
        meter.close()
        meter.close()


def test_without_a_directory_it_counts_for_itself(tmp_path: Path) -> None:
    meter = WorkerMeter(str(tmp_path / "missing"), 0)
    meter.client("a", "", "", 0, 0.0).sent(Source.LOCAL, 1)
    assert meter.path == ""
    assert _read(meter).total().body == [1, 0, 0, 0]


def test_a_reader_never_sees_a_torn_word(meter: WorkerMeter) -> None:
    """Every sum is a multiple of one addition: halves of two words would not be."""
    step = (1 << 33) + 1
    client = meter.client("a", "", "", 0, 0.0)
    stop = threading.Event()

    def write() -> None:
        for _ in range(20_000):
            client.sent(Source.LOCAL, step)
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    last = 0
    pages = Pages(meter._words)
    while not stop.is_set():
        pages.keys()
        for moving in pages.moving():
            assert moving[0] % step == 0
            assert moving[0] >= last
            last = moving[0]
    writer.join()
    assert _read(meter).total().body[0] == 20_000 * step
