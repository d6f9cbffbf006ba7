"""Faults on the wire: upstream's arrive as themselves, the owner's own as a refusal."""

from __future__ import annotations

import pytest

from cache.faults import (
    BudgetSpent,
    DiskFull,
    Draining,
    Fault,
    PeerPassedOn,
    PeerRefused,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamUnreachable,
    VersionChanged,
)
from cache.peers.blame import BODY_BYTES_MAX, TEXT_MAX, failed_of, fault_of
from cache.peers.frames import Failed


@pytest.mark.parametrize("kind", [VersionChanged, UpstreamUnreachable, UpstreamBusy, UpstreamBroken])
def test_faults_of_upstream_cross_as_themselves(kind: type[Fault]) -> None:
    told = fault_of(failed_of(kind("why")))
    assert isinstance(told, PeerPassedOn)
    assert type(told.cause) is kind
    assert str(told.cause) == "why"


def test_an_answer_of_upstream_crosses_whole() -> None:
    told = fault_of(failed_of(UpstreamRefused(403, (("x", "y"),), b"z" * (BODY_BYTES_MAX + 1))))
    assert isinstance(told, PeerPassedOn)
    assert isinstance(told.cause, UpstreamRefused)
    assert (told.cause.status, told.cause.headers, len(told.cause.body)) == (403, (("x", "y"),), BODY_BYTES_MAX)


@pytest.mark.parametrize("fault", [DiskFull("no"), BudgetSpent("fills"), Draining(), PeerRefused("x")])
def test_the_owners_own_faults_are_refusals(fault: Fault) -> None:
    told = fault_of(failed_of(fault))
    assert isinstance(told, PeerRefused)
    assert type(fault).__name__ in str(told)


def test_an_unknown_name_is_a_refusal_and_text_is_bounded() -> None:
    assert isinstance(fault_of(Failed("FromTheFuture")), PeerRefused)
    assert len(failed_of(DiskFull("x" * 10_000)).text) == TEXT_MAX
