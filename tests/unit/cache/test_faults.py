"""The tree of faults: everyone has somebody to blame, and says whether another source may help."""

from __future__ import annotations

import pytest

from cache import faults
from cache.faults import ClientFault, DiskFault, Fault, OwnFault, PeerFault, UpstreamFault

BRANCHES = (ClientFault, UpstreamFault, PeerFault, DiskFault, OwnFault)
LEAVES = [
    each
    for each in vars(faults).values()
    if isinstance(each, type) and issubclass(each, Fault) and each not in (Fault, *BRANCHES)
]
ARGUMENTS = {
    "RangeOutside": (7,),
    "UpstreamRefused": (404,),
    "PeerPassedOn": (Fault("why"),),
    "BudgetSpent": ("fills",),
}


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_blames_exactly_one(leaf: type[Fault]) -> None:
    assert sum(issubclass(leaf, branch) for branch in BRANCHES) == 1
    assert isinstance(leaf(*ARGUMENTS.get(leaf.__name__, ())), Fault)


@pytest.mark.parametrize("leaf", LEAVES)
def test_another_source_helps_when_a_disk_or_a_peer_failed(leaf: type[Fault]) -> None:
    expected = issubclass(leaf, PeerFault | DiskFault) and leaf is not faults.PeerPassedOn
    assert leaf.another_source_may_help == expected


def test_leaves_carry_values() -> None:
    assert faults.RangeOutside(7).size == 7
    refused = faults.UpstreamRefused(404, (("a", "b"),), b"<Error/>")
    assert (refused.status, refused.headers, refused.body) == (404, (("a", "b"),), b"<Error/>")
    cause = faults.UpstreamBusy()
    assert faults.PeerPassedOn(cause).cause is cause
    assert faults.BudgetSpent("fills").budget == "fills"
