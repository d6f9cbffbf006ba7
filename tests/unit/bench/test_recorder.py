from __future__ import annotations

import msgspec
import pytest

from bench.recorder import LoadReport, Recorder


def test_an_operation_counts_once_with_its_bytes_and_times() -> None:
    recorder = Recorder(100.0, 0.1)
    recorder.done(100.0, 100.25, 100.5, 1000)
    report = recorder.report()
    assert (report.requests, report.bytes, report.errors) == (1, 1000, {})
    assert report.total.histogram().percentile(50) == 500_000_000
    assert report.first_byte.histogram().percentile(50) == 250_000_000
    assert sum(report.interval_bytes) == pytest.approx(1000)
    assert (report.begin_s, report.last_s) == (100.0, 100.5)


def test_an_error_is_counted_by_its_code_and_is_no_latency() -> None:
    recorder = Recorder(0.0, 0.1)
    for code in ("SlowDown", "SlowDown", "Timeout"):
        recorder.went_wrong(code, 2.0)
    report = recorder.report()
    assert report.errors == {"SlowDown": 2, "Timeout": 1}
    assert recorder.failed == 3
    assert (report.requests, report.total.histogram().count, report.last_s) == (0, 0, 2.0)


def test_clients_add_up_over_the_wire() -> None:
    one, other, whole = Recorder(0.0, 0.1), Recorder(0.0, 0.1), Recorder(0.0, 0.1)
    for number in range(10):
        for recorder in (one if number % 2 else other, whole):
            recorder.done(number / 10, number / 10 + 0.01, number / 10 + 0.25, number)
    for recorder in (other, whole):
        recorder.went_wrong("Timeout", 5.0)
    one.merge(msgspec.json.decode(msgspec.json.encode(other.report()), type=LoadReport))
    merged, expected = one.report(), whole.report()
    assert merged.interval_bytes == pytest.approx(expected.interval_bytes)
    assert msgspec.structs.replace(merged, interval_bytes=[]) == msgspec.structs.replace(expected, interval_bytes=[])


def test_reports_of_different_runs_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="different runs"):
        Recorder(0.0, 0.1).merge(Recorder(1.0, 0.1).report())


def test_a_run_reaches_to_its_end_even_where_nothing_succeeded() -> None:
    recorder = Recorder(10.0, 0.1)
    recorder.ended(15.0)
    assert recorder.report().last_s == 15.0
