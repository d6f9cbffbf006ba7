"""Rows of the status document: what follows from counts, and what has no value."""

from __future__ import annotations

from gateway.meter import layout
from gateway.meter.documents import client_row, ratio, total_row
from gateway.meter.readings import ClientCounts, ClientKey

IDLE = ({"disk": 0.0}, 10.0)
RATES = {"1s": 14e9, "10s": 7e9, "60s": 0.0}


def _counts(gpus: int, target: int) -> ClientCounts:
    counts = ClientCounts()
    counts.words[layout.GPUS], counts.words[layout.TARGET] = gpus, target
    return counts


def test_what_does_not_exist_is_none() -> None:
    row = client_row(ClientKey("a", "", ""), _counts(0, 0), RATES, IDLE)
    assert row["per_gpu"] == row["of_target"] == {"1s": None, "10s": None, "60s": None}
    assert row["hit_ratio"] is None
    assert row["waits_for"] is None
    assert row["ttfb_ms"] == {"p50": None, "p99": None}


def test_rates_per_gpu_and_of_the_target() -> None:
    row = client_row(ClientKey("a", "", ""), _counts(2, 7 * 10**9), RATES, IDLE)
    assert row["per_gpu"] == {"1s": 7e9, "10s": 3.5e9, "60s": 0.0}
    assert row["of_target"] == {"1s": 1.0, "10s": 0.5, "60s": 0.0}


def test_totals_want_what_all_clients_want() -> None:
    rows = [
        client_row(ClientKey(name, "", ""), _counts(gpus, 10**9), RATES, IDLE) for name, gpus in (("a", 3), ("b", 4))
    ]
    totals = total_row(rows, ClientCounts(), RATES, IDLE)
    assert (totals["gpus"], totals["target_bytes_per_second"]) == (7, 7 * 10**9)
    assert totals["of_target"]["1s"] == 2.0


def test_ratio_of_nothing() -> None:
    assert ratio(1, 4) == 0.25
    assert ratio(0, 0) is None
