from __future__ import annotations

from xml.etree import ElementTree

import pytest

from bench.histogram import Histogram
from bench.recorder import Durations
from bench.report.charts import draw_latencies, draw_percentiles, draw_throughput, percentile_curve, range_of, steps_of
from bench.result import latency_of
from tests.unit.bench.report.a_result import a_result


def durations(*values_ns: int) -> Durations:
    histogram = Histogram()
    for value in values_ns:
        histogram.add(value)
    return Durations(histogram.buckets(), histogram.sum_ns, histogram.largest_ns)


@pytest.mark.parametrize(
    ("duration_s", "gpus", "requests"), [(0.05, 1, 3), (1.0, 1, 0), (12.0, 2, 100), (600.0, 8, 1000)]
)
def test_runs_of_any_length_are_drawn(duration_s: float, gpus: int, requests: int) -> None:
    result = a_result(duration_s, gpus, requests)
    tree = ElementTree.fromstring(draw_throughput(result))
    numbers = [float(child.get("y1", "0")) for child in tree]
    assert all(0 <= number <= 300 for number in numbers)
    values, step_s = steps_of(result)
    assert len(values) <= 200
    assert len(values) * step_s <= result.rates.window_s * 1.001


def test_a_target_far_above_is_named_and_not_on_the_axis() -> None:
    assert "is above this axis: " in draw_throughput(a_result(12.0, 8, 100))
    assert "is above this axis" not in draw_throughput(a_result(12.0, 1, 1000))


def test_every_request_is_in_a_bar() -> None:
    counted = durations(*range(1000, 5_000_000, 997))
    drawn = draw_latencies(counted, latency_of(counted.histogram()))
    tree = ElementTree.fromstring(drawn)
    titles = [int((child[0].text or "").split()[0].replace(",", "")) for child in tree if child.tag == "rect"]
    assert sum(titles) == counted.histogram().count


@pytest.mark.parametrize("counted", [durations(), durations(5), durations(10, 10**10)])
def test_few_durations_are_drawn_too(counted: Durations) -> None:
    smallest, largest = range_of(counted)
    assert 0 < smallest < largest
    ElementTree.fromstring(draw_latencies(counted, latency_of(counted.histogram())))
    ElementTree.fromstring(draw_percentiles([("last byte", counted), ("first byte", durations())]))


def test_a_curve_of_percentiles_rises_to_the_largest() -> None:
    histogram = durations(*range(1_000_000, 3_000_000, 1000)).histogram()
    curve = percentile_curve(histogram, 4)
    assert [share for share, _ in curve] == sorted(share for share, _ in curve)
    assert [value for _, value in curve] == sorted(value for _, value in curve)
    assert curve[-1] == (1.0, histogram.largest_ns / 1e6)
    assert percentile_curve(Histogram(), 4) == []
