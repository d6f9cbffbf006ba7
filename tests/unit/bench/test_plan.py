from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.arrivals import Rate
from bench.plan import Door, LoadPlan, Shape

DOOR = Door(("http://127.0.0.1:9000",), "b", "AK", "SK")


@given(st.integers(1, 200), st.integers(1, 20))
def test_connections_are_dealt_out_evenly_and_none_is_lost(concurrent: int, processes: int) -> None:
    shares = LoadPlan(DOOR, Shape(concurrent=concurrent, processes=processes)).shares()
    counts = [share.shape.concurrent for share in shares]
    assert sum(counts) == concurrent
    assert len(counts) == min(processes, concurrent)
    assert max(counts) - min(counts) <= 1


def test_lanes_are_numbered_through() -> None:
    shares = LoadPlan(DOOR, Shape(concurrent=7, processes=3), seed=7).shares()
    assert [(share.first_lane, share.shape.concurrent, share.lanes, share.seed) for share in shares] == [
        (0, 3, 7, 7),
        (3, 2, 7, 7),
        (5, 2, 7, 7),
    ]


def test_a_rate_is_shared_by_connections() -> None:
    shares = LoadPlan(DOOR, Shape(concurrent=4, processes=3, rate=100.0)).shares()
    assert [share.shape.rate for share in shares] == [50.0, 25.0, 25.0]
    assert shares[0].shape.arrivals == Rate(50.0)
    assert Shape(rate=1e9, rate_by_bytes=True).arrivals == Rate(1e9, by_bytes=True)
    assert Shape().arrivals is None


def test_a_share_survives_the_pipe() -> None:
    plan = LoadPlan(DOOR, Shape(), cpus=(1,))
    assert msgspec.json.decode(msgspec.json.encode(plan), type=LoadPlan) == plan


@pytest.mark.parametrize("duration_s", [0.05, 0.1, 0.25, 1.0, 7.3, 300.0])
def test_a_whole_number_of_intervals_fills_the_window(duration_s: float) -> None:
    shape = Shape(duration_s=duration_s)
    count = duration_s / shape.interval_s
    assert count == pytest.approx(round(count))
    assert shape.interval_s >= min(0.1, duration_s) - 1e-9


def test_the_objects_of_a_shape() -> None:
    objects = Shape(prefix="p/", object_bytes=3, objects=2).objects_read()
    assert [(each.key, each.size) for each in objects] == [("p/3/000000", 3), ("p/3/000001", 3)]
