from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.cost import ASSUMED_HITS, Need, PathSample, default_shares, fit_costs, plan_nodes

MIB = 1024**2


def sample(path: str, request_bytes: int, *, per_request_s: float, per_gb_s: float, requests: int = 1000) -> PathSample:
    cpu_s = requests * (per_request_s + request_bytes / 1e9 * per_gb_s)
    return PathSample(path, requests, requests * request_bytes, cpu_s, request_bytes)


def hits(per_request_s: float = 20e-6, per_gb_s: float = 0.2) -> list[PathSample]:
    return [sample("hit", size, per_request_s=per_request_s, per_gb_s=per_gb_s) for size in (4096, 65536, 8 * MIB)]


@given(st.floats(1e-6, 1e-3), st.floats(0.01, 2.0))
def test_a_straight_line_is_found_again(per_request_s: float, per_gb_s: float) -> None:
    hit = fit_costs(hits(per_request_s, per_gb_s))["hit"]
    assert hit.per_request_s == pytest.approx(per_request_s, rel=1e-4)
    assert hit.per_gb_s == pytest.approx(per_gb_s, rel=1e-4)
    assert hit.of(MIB) == pytest.approx(per_gb_s + per_request_s * 1e9 / MIB, rel=1e-4)


def test_no_part_is_below_zero() -> None:
    rising = [PathSample("hit", 1000, 1000 * size, cpu, size) for size, cpu in ((1000, 0.001), (10**6, 1.0))]
    falling = [PathSample("hit", 1000, 1000 * size, cpu, size) for size, cpu in ((1000, 0.02), (10**6, 0.01))]
    for samples in (rising, falling):
        hit = fit_costs(samples)["hit"]
        assert hit.per_request_s >= 0
        assert hit.per_gb_s >= 0


def test_one_size_is_laid_on_the_bytes() -> None:
    hit = fit_costs([PathSample("hit", 100, 10**9, 0.5, 10**7)])["hit"]
    assert (hit.per_request_s, hit.per_gb_s) == (0.0, pytest.approx(0.5))


def test_what_was_not_measured_is_assumed_and_said() -> None:
    costs = fit_costs(hits())
    assert costs["remote"].samples == 0
    assert costs["remote"].per_gb_s == pytest.approx(ASSUMED_HITS["remote"] * costs["hit"].per_gb_s)
    need = Need(8, 7e9, 8, 8 * MIB, {"hit": 0.5, "remote": 0.5})
    said = "\n".join(plan_nodes(costs, need).assumptions)
    assert "remote was not measured" in said
    assert "miss was not measured" not in said  # it has no share


@pytest.mark.parametrize("samples", [[], [PathSample("remote", 1, 1, 1.0, 1)], [PathSample("hit", 0, 0, 0.0, 1)]])
def test_without_hits_there_is_no_plan(samples: list[PathSample]) -> None:
    with pytest.raises(ValueError, match="no hits"):
        fit_costs(samples)


def test_a_plan_is_arithmetic() -> None:
    costs = fit_costs([*hits(0.0, 0.2), sample("remote", 8 * MIB, per_request_s=0.0, per_gb_s=0.6)])
    plan = plan_nodes(costs, Need(20, 7e9, 8, 8 * MIB, {"hit": 0.25, "remote": 0.75}, busy=0.5))
    assert plan.nodes == 3
    each = 20 / 3 * 7
    assert plan.gb_per_s == pytest.approx(each)
    assert plan.cores == pytest.approx(each * (0.25 * 0.2 + 0.75 * 0.6) / 0.5, rel=1e-3)
    assert plan.workers >= plan.cores
    assert plan.network_gb_per_s == pytest.approx(each * 0.75)
    assert [path.path for path in plan.paths] == ["hit", "remote"]


@given(st.integers(1, 1000), st.floats(0, 0.5), st.floats(0, 0.5))
def test_shares_are_parts_of_one(nodes: int, miss: float, forward: float) -> None:
    shares = default_shares(nodes, miss=miss, forward=forward)
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= 0
    assert (shares["remote"] == 0) == (nodes == 1 or shares["hit"] == 0)


def test_more_than_all_is_refused() -> None:
    with pytest.raises(ValueError, match="parts of 1"):
        default_shares(2, miss=0.8, forward=0.3)
