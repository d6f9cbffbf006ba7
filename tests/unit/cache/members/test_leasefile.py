"""The shared table of grants: what one worker grants binds the others, and a new boot starts anew."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from cache.faults import DiskFailed
from cache.members.leasefile import MEMBERS_MAX, LeaseTable


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Workers:
    """Tables of several workers on one file."""

    def __init__(self, path: Path) -> None:
        self.path, self.clock = path, FakeClock()
        self.tables: list[LeaseTable] = []

    def opened(self) -> LeaseTable:
        self.tables.append(LeaseTable(str(self.path), lease_s=5.0, clock=self.clock))
        return self.tables[-1]


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path / "leases")
    yield workers
    for table in workers.tables:
        table.close()


def granted(table: LeaseTable, member: str) -> float:
    """As a member asks: once to learn its standing, then quoting it."""
    _, standing = table.asked(member, 0)
    return table.asked(member, standing)[0]


def test_what_one_worker_grants_another_waits_for(workers: Workers) -> None:
    one, two = workers.opened(), workers.opened()
    assert one.asked("m", 0)[0] == 0
    workers.clock.now = 1020.0
    assert granted(one, "m") == 5.0
    assert two.missed("m", began_at=1021.0, gone=False) == 1025.0
    _, standing = one.asked("m", 0)
    assert one.asked("m", standing + 1)[0] == 0
    assert granted(one, "m") == 5.0


def test_a_suspended_member_is_forgone_after_its_lease_and_misses_each_time(workers: Workers) -> None:
    table = workers.opened()
    workers.clock.now = 1020.0
    granted(table, "m")
    assert not table.forgo("m")
    table.missed("m", began_at=1020.0, gone=False)
    assert not table.forgo("m")
    workers.clock.now = 1025.0
    _, standing = table.asked("m", 0)
    assert table.forgo("m")
    assert table.asked("m", standing)[0] == 0  # it fetched before that write, perhaps: it must distrust again


def test_a_dead_member_is_not_waited_for(workers: Workers) -> None:
    table = workers.opened()
    granted(table, "m")
    workers.clock.now = 1001.0
    assert table.missed("m", began_at=1000.5, gone=True) == 0.0


def test_opening_counts_as_a_grant_to_everybody(workers: Workers) -> None:
    table = workers.opened()
    workers.clock.now = 1100.0
    workers.opened()
    assert table.missed("m", began_at=1100.0, gone=False) == 1105.0


def test_a_new_boot_has_new_standings(workers: Workers) -> None:
    _, standing = workers.opened().asked("m", 0)
    workers.path.unlink()
    table = workers.opened()
    assert table.asked("m", standing)[0] == 0


def test_what_was_obeyed_is_shared_and_survives_a_worker(workers: Workers) -> None:
    one = workers.opened()
    assert one.obeyed("m") == 0
    one.obey("m", 2**64 - 1)
    assert workers.opened().obeyed("m") == 2**64 - 1
    assert one.obeyed("n") == 0


def test_standings_renewed_for_all_end_renewals_and_not_the_tellings(workers: Workers) -> None:
    node, worker = workers.opened(), workers.opened()
    workers.clock.now = 1020.0
    members = ["m", "n"]
    standings = [worker.asked(member, 0)[1] for member in members]
    assert [granted(worker, member) for member in members] == [5.0, 5.0]
    node.renew_standings()
    for member, standing in zip(members, standings, strict=True):
        seconds, fresh = worker.asked(member, standing)
        assert seconds == 0.0
        assert fresh != standing
        assert not worker.forgo(member)  # it holds its lease still
    assert [granted(worker, member) for member in members] == [5.0, 5.0]


def test_one_workers_distrust_after_a_refusal_is_that_of_all(workers: Workers) -> None:
    one, two = workers.opened(), workers.opened()
    assert one.must_distrust("m")
    workers.clock.now = 1001.0
    one.heard("m")
    workers.clock.now = 1002.0
    assert two.must_distrust("m")
    two.distrusted("m", asked_at=1001.5)
    assert not one.must_distrust("m")
    assert one.must_distrust("n")
    workers.clock.now = 1006.5
    assert one.must_distrust("m")  # a lease later, once more
    one.distrusted("m", asked_at=1006.5)
    workers.clock.now = 1100.0
    assert not two.must_distrust("m")


def test_a_file_of_another_layout_is_begun_anew(workers: Workers) -> None:
    workers.path.write_bytes(b"\x07" * 5000)
    assert workers.opened().obeyed("m") == 0


def test_the_table_has_an_end(workers: Workers) -> None:
    table = workers.opened()
    for index in range(MEMBERS_MAX):
        table._words[8 * (index + 1)] = index + 1
    with pytest.raises(ValueError, match=str(MEMBERS_MAX)):
        table.obeyed("one too many")


def test_without_room_no_table_is_opened(workers: Workers) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(DiskFailed, match=os.strerror(errno.EFBIG)):
            workers.opened()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_file_that_cannot_be_had_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(DiskFailed, match="absent/leases"):
        Workers(tmp_path / "absent" / "leases").opened()
