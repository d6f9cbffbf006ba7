"""No node serves an older version after a write has returned, or for long after its writer died in mid-write.

A writer and a reader in every order of events: the real rules (the files of both nodes, the held leases) under random
delays, losses, hangs, crashes and restarts; only the messages are played. Member ``m`` reads, node ``w`` writes; the
model knows which writes have returned, and which were lost with their writer.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cache.members.leasefile import LeaseTable
from cache.members.leases import HeldLeases

LEASE_S = 4.0


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Write:
    version: int
    began_at: float
    until: float | None = None


@dataclass
class Ask:
    asked_at: float
    quoted: int


@dataclass
class Reply:
    ask: Ask
    seconds: float
    standing: int


class Leases(RuleBasedStateMachine):
    """See the module."""

    @initialize()
    def start(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.upstream = self.returned = 0
        self.table: LeaseTable | None = None
        self.writes: list[Write] = []
        self.reader_lives = True
        self.held = HeldLeases(["w"])
        self.mine = LeaseTable(f"{self.directory.name}/mine", lease_s=LEASE_S, clock=self.clock)
        self.heard_at, self.heard_last = 0.0, False
        self.refusals: list[float] = []
        self.died_at, self.died_known = float("-inf"), False
        self.unclean = False
        self.lost, self.lost_until = 0, 0.0
        self.entry: int | None = None
        self.token = 0
        self.fetches: list[tuple[int, int]] = []
        self.asks: list[Ask] = []
        self.replies: list[Reply] = []
        self.writer_starts(same_boot=True)

    def teardown(self) -> None:
        if getattr(self, "table", None) is not None:
            self.writer_dies()
        if hasattr(self, "mine"):
            self.mine.close()
        if hasattr(self, "directory"):
            self.directory.cleanup()

    def forget(self) -> None:
        self.entry, self.token = None, self.token + 1

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.9, 4.0, 9.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    # the reader

    @precondition(lambda self: self.reader_lives)
    @rule()
    def reader_asks_upstream(self) -> None:
        self.fetches.append((self.token, self.upstream))

    @precondition(lambda self: self.fetches)
    @rule()
    def upstream_answers(self) -> None:
        token, version = self.fetches.pop(0)
        if self.reader_lives and token == self.token:
            self.entry = version

    @precondition(lambda self: self.reader_lives)
    @rule()
    def reader_asks_for_a_lease(self) -> None:
        if self.table is None:  # refused: dead
            self.refusals.append(self.clock.now)
        else:
            self.asks.append(Ask(self.clock.now, self.mine.obeyed("w")))

    @precondition(lambda self: self.refusals)
    @rule()
    def reader_hears_the_refusal(self) -> None:
        asked_at = self.refusals.pop(0)
        if asked_at > self.heard_at:
            self.heard_last = False
        if not self.held.holds("w", self.clock.now) or self.mine.must_distrust("w"):
            self.forget()
            self.mine.distrusted("w", asked_at=asked_at)
        self.held.renewed("w", asked_at=asked_at, seconds=LEASE_S)

    @precondition(lambda self: self.asks and self.table is not None)
    @rule()
    def writer_hears_the_ask(self) -> None:
        assert self.table is not None
        ask = self.asks.pop(0)
        self.replies.append(Reply(ask, *self.table.asked("m", ask.quoted)))

    @precondition(lambda self: self.replies)
    @rule(lost=st.booleans())
    def reader_hears_the_reply(self, *, lost: bool) -> None:
        reply = self.replies.pop(0)
        if lost:
            return
        if reply.standing != reply.ask.quoted:
            self.forget()
            self.mine.obey("w", reply.standing)
        if reply.seconds:
            self.mine.heard("w")
            self.heard_at, self.heard_last = self.clock.now, True
        self.held.renewed("w", asked_at=reply.ask.asked_at, seconds=reply.seconds)

    @precondition(lambda self: self.reader_lives)
    @rule()
    def reader_dies(self) -> None:
        self.reader_lives = False
        self.held = HeldLeases(["w"])
        self.asks, self.replies, self.fetches, self.refusals = [], [], [], []

    @precondition(lambda self: not self.reader_lives)
    @rule()
    def reader_starts_and_knows_what_it_knew(self) -> None:
        self.reader_lives = True

    # the writer

    @precondition(lambda self: self.table is not None)
    @rule()
    def a_write_reaches_upstream(self) -> None:
        assert self.table is not None
        self.upstream += 1
        if self.table.forgo("m"):
            self.returned = self.upstream
        else:
            self.writes.append(Write(self.upstream, self.clock.now))

    @precondition(lambda self: any(write.until is None for write in self.writes))
    @rule(hangs=st.booleans())
    def the_telling_ends(self, *, hangs: bool) -> None:
        assert self.table is not None
        write = next(write for write in self.writes if write.until is None)
        if self.reader_lives and not hangs:
            self.forget()
            write.until = 0.0
        else:
            write.until = self.table.missed("m", began_at=write.began_at, gone=not self.reader_lives)

    @rule()
    def writes_return(self) -> None:
        done = [write for write in self.writes if write.until is not None and write.until <= self.clock.now]
        self.returned = max([self.returned, *(write.version for write in done)])
        self.writes = [write for write in self.writes if write not in done]

    @precondition(lambda self: self.table is not None)
    @rule()
    def writer_dies(self) -> None:
        """All of it. Whoever heard of it last by a lease must notice what upstream has and nobody was told."""
        assert self.table is not None
        self.table.close()
        self.table, self.asks = None, []
        self.died_at, self.died_known = self.clock.now, self.heard_last and not self.refusals
        self.unclean = bool(self.writes)
        if self.writes and self.heard_last:
            self.lose(self.writes[-1].version, LEASE_S)
        self.writes = []

    @precondition(lambda self: self.table is None and self.died_known and self.clock.now < self.died_at + LEASE_S)
    @rule()
    def a_write_of_the_dead_reaches_upstream(self) -> None:
        """It was on its way. Two refusals a lease apart make the reader notice, or the writer's next start."""
        self.upstream += 1
        self.unclean = True
        self.lose(self.upstream, self.died_at + 3 * LEASE_S - self.clock.now)

    @precondition(lambda self: self.table is not None)
    @rule()
    def a_worker_of_the_writer_dies(self) -> None:
        """Its node lives on, so nobody is refused."""
        assert self.table is not None
        if self.writes:
            self.lose(self.writes[-1].version, LEASE_S)
        self.writes = []
        self.table.renew_standings()

    def lose(self, version: int, within_s: float) -> None:
        self.lost, self.lost_until = version, self.clock.now + within_s

    @precondition(lambda self: self.table is None)
    @rule(same_boot=st.booleans())
    def writer_starts(self, *, same_boot: bool) -> None:
        path = Path(self.directory.name) / "leases"
        if not same_boot:
            path.unlink(missing_ok=True)
        self.table = LeaseTable(str(path), lease_s=LEASE_S, clock=self.clock)
        if self.unclean:
            self.table.renew_standings()

    # whole exchanges, so that a few steps get far

    @precondition(lambda self: self.reader_lives and self.table is not None)
    @rule()
    def reader_renews_at_once(self) -> None:
        self.reader_asks_for_a_lease()
        while self.asks:
            self.writer_hears_the_ask()
        while self.replies:
            self.reader_hears_the_reply(lost=False)

    @precondition(lambda self: self.reader_lives and self.table is None)
    @rule()
    def reader_is_refused_at_once(self) -> None:
        self.reader_asks_for_a_lease()
        while self.refusals:
            self.reader_hears_the_refusal()

    @precondition(lambda self: self.reader_lives)
    @rule()
    def reader_learns_at_once(self) -> None:
        self.forget()
        self.fetches.clear()
        self.reader_asks_upstream()
        self.upstream_answers()

    @precondition(lambda self: self.table is not None)
    @rule()
    def a_write_is_not_told_and_waits(self) -> None:
        self.a_write_reaches_upstream()
        while any(write.until is None for write in self.writes):
            self.the_telling_ends(hangs=True)
        self.clock.now = max([self.clock.now, *(write.until or 0.0 for write in self.writes)])
        self.writes_return()

    @precondition(lambda self: self.reader_lives and self.table is not None)
    @rule(whole_node=st.booleans(), late=st.booleans())
    def the_writer_is_killed_in_mid_write(self, *, whole_node: bool, late: bool) -> None:
        self.reader_renews_at_once()
        self.reader_learns_at_once()
        if not (late and whole_node):
            self.a_write_reaches_upstream()
        if whole_node:
            self.writer_dies()
            self.reader_is_refused_at_once()
        else:
            self.a_worker_of_the_writer_dies()
        if late and whole_node and self.died_known:
            self.reader_learns_at_once()
            self.a_write_of_the_dead_reaches_upstream()
        self.reader_keeps_asking(12)

    @precondition(lambda self: self.reader_lives)
    @rule(count=st.integers(1, 12))
    def reader_keeps_asking(self, count: int) -> None:
        for _ in range(count):
            self.clock.now += LEASE_S / 4
            self.nothing_older_is_trusted()
            self.what_was_lost_with_a_writer_is_noticed_soon()
            if self.table is None:
                self.reader_is_refused_at_once()
            else:
                self.reader_renews_at_once()

    @invariant()
    def nothing_older_is_trusted(self) -> None:
        if getattr(self, "reader_lives", False) and self.entry is not None and self.held.trusted(self.clock.now):
            assert self.entry >= self.returned

    @invariant()
    def what_was_lost_with_a_writer_is_noticed_soon(self) -> None:
        if getattr(self, "reader_lives", False) and self.entry is not None and self.held.trusted(self.clock.now):
            assert self.entry >= self.lost or self.clock.now < self.lost_until


TestLeases = Leases.TestCase
TestLeases.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
