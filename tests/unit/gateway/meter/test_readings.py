"""Sums over workers: counters of all, levels of the living, no client lost."""

from __future__ import annotations

from cache.pieces import Source
from cache.tally import Count
from gateway.meter import layout
from gateway.meter.counters import WorkerMeter
from gateway.meter.readings import OTHER, ClientCounts, ClientKey, Pages, Roster, Sums

A = ClientKey("a", "", "")


def _worker(sent: int) -> WorkerMeter:
    meter = WorkerMeter("", 0)
    client = meter.client("a", "", "", 2, 3e9)
    client.sent(Source.LOCAL, sent)
    client.began()
    meter.tally.add(Count.CONNECTIONS_NOW, 4)
    meter.tally.add(Count.CONNECTIONS, 9)
    meter.tally.add(Count.LOOP_LAG_US_MAX, sent)
    return meter


def test_levels_die_with_their_worker() -> None:
    sums, roster = Sums(), Roster()
    sums.add(Pages(_worker(10)._words), roster, alive=False)
    sums.add(Pages(_worker(5)._words), roster, alive=True)
    assert sums.clients[A].body[Source.LOCAL] == 15
    assert sums.clients[A].words[layout.IN_FLIGHT] == 1
    assert sums.tally[Count.CONNECTIONS_NOW] == 4
    assert sums.tally[Count.CONNECTIONS] == 18
    assert sums.tally[Count.LOOP_LAG_US_MAX] == 5


def test_lag_is_the_largest() -> None:
    sums, roster = Sums(), Roster()
    for lag in (5, 30, 10):
        sums.add(Pages(_worker(lag)._words), roster, alive=True)
    assert sums.tally[Count.LOOP_LAG_US_MAX] == 30


def test_gpus_and_target_are_not_added() -> None:
    sums, roster = Sums(), Roster()
    for _ in range(3):
        sums.add(Pages(_worker(1)._words), roster, alive=True)
    silent = ClientCounts()
    sums.clients[A].add(silent.words, alive=True)
    assert (sums.clients[A].gpus, sums.clients[A].target) == (2, 3 * 10**9)


def test_a_copy_is_independent() -> None:
    sums, roster = Sums(), Roster()
    sums.add(Pages(_worker(10)._words), roster, alive=True)
    other = sums.copy()
    other.include(sums)
    assert sums.clients[A].body[Source.LOCAL] == 10
    assert other.clients[A].body[Source.LOCAL] == 20
    assert other.total().requests == 0
    assert other.clients[A].moving[0] == 20


def test_who_comes_late_is_other_for_good() -> None:
    roster = Roster()
    keys = [ClientKey(str(number), "", "") for number in range(layout.CLIENTS_MAX + 5)]
    places = [roster.place(key) for key in keys]
    assert places[: layout.CLIENTS_MAX] == keys[: layout.CLIENTS_MAX]
    assert set(places[layout.CLIENTS_MAX :]) == {OTHER}
    assert [roster.place(key) for key in keys] == places


def test_a_page_without_its_label_is_not_read_yet() -> None:
    meter = _worker(1)
    meter._words[layout.HEAD_CLIENTS] = 2
    assert Pages(meter._words).keys() == [A]


def test_another_layout_is_passed_over() -> None:
    meter = _worker(1)
    meter._words[layout.HEAD_VERSION] = layout.VERSION + 1
    assert not Pages(meter._words).ready()
