from __future__ import annotations

import msgspec
import pytest

from bench.recorder import Durations, LoadReport, Recorder


def test_an_operation_counts_once_with_its_bytes_and_times() -> None:
    recorder = Recorder(100.0, 0.1)
    recorder.done(100.0, 100.25, 100.5, 1000)
    report = recorder.report()
    assert (report.requests, report.bytes, report.errors) == (1, 1000, {})
    assert report.total.histogram().percentile(50) == 500_000_000
    assert report.first_byte.histogram().percentile(50) == 250_000_000
    assert report.service == Durations()
    assert sum(report.interval_bytes) == pytest.approx(1000)
    assert (report.begin_s, report.last_s) == (100.0, 100.5)


def test_in_an_open_loop_latency_counts_from_the_intended_start_and_service_from_the_sending() -> None:
    recorder = Recorder(100.0, 0.1)
    recorder.done(101.0, 101.25, 101.5, 1000, intended_s=100.5)
    report = recorder.report()
    assert report.total.histogram().percentile(50) == 1_000_000_000
    assert report.first_byte.histogram().percentile(50) == 750_000_000
    assert report.service.histogram().percentile(50) == 500_000_000


def test_an_error_is_counted_by_its_code_and_is_no_latency() -> None:
    recorder = Recorder(0.0, 0.1)
    for code in ("SlowDown", "SlowDown", "Timeout"):
        recorder.went_wrong(code, 2.0)
    report = recorder.report()
    assert report.errors == {"SlowDown": 2, "Timeout": 1}
    assert recorder.failed == 3
    assert (report.requests, report.total.histogram().count, report.last_s) == (0, 0, 2.0)


def test_kinds_are_counted_by_themselves_and_together() -> None:
    recorder = Recorder(0.0, 0.1)
    recorder.done(0.0, 0.1, 0.2, 100)
    recorder.done(0.0, 0.5, 0.5, 50, kind="PUT")
    recorder.went_wrong("SlowDown", 1.0, kind="PUT")
    report = recorder.report()
    assert {name: (kind.requests, kind.bytes, kind.failed) for name, kind in report.kinds.items()} == {
        "GET": (1, 100, 0),
        "PUT": (1, 50, 1),
    }
    assert (report.requests, report.bytes, report.total.histogram().count) == (2, 150, 2)
    assert report.kinds["PUT"].total.largest_ns == report.total.largest_ns == 500_000_000


def test_an_upload_moves_before_its_answer_a_download_after_the_first_byte() -> None:
    up, down = Recorder(0.0, 0.1), Recorder(0.0, 0.1)
    up.done(0.0, 0.399, 0.399, 400, kind="PUT")
    down.done(0.0, 0.399, 0.399, 400)
    assert up.report().interval_bytes == pytest.approx([100, 100, 100, 100], rel=0.02)
    assert down.report().interval_bytes == pytest.approx([0, 0, 0, 400])


def test_clients_add_up_over_the_wire() -> None:
    one, other, whole = Recorder(0.0, 0.1), Recorder(0.0, 0.1), Recorder(0.0, 0.1)
    for number in range(10):
        for recorder in (one if number % 2 else other, whole):
            at_s = number / 10
            kind = "PUT" if number % 3 else "GET"
            recorder.done(at_s, at_s + 0.01, at_s + 0.25, number, kind=kind, intended_s=at_s - 0.125)
    for recorder in (other, whole):
        recorder.went_wrong("Timeout", 5.0, kind="LIST")
        recorder.missed(3)
    one.merge(msgspec.json.decode(msgspec.json.encode(other.report()), type=LoadReport))
    merged, expected = one.report(), whole.report()
    assert merged.interval_bytes == pytest.approx(expected.interval_bytes)
    assert msgspec.structs.replace(merged, interval_bytes=[]) == msgspec.structs.replace(expected, interval_bytes=[])
    assert merged.unsent == 3


def test_reports_of_different_runs_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="different runs"):
        Recorder(0.0, 0.1).merge(Recorder(1.0, 0.1).report())


def test_a_report_from_another_clock_is_moved_to_ours() -> None:
    far = Recorder(5000.0, 0.1)
    far.done(5001.0, 5001.5, 5002.0, 10)
    near = Recorder(100.0, 0.1)
    near.merge(far.report().rebased(100.0))
    assert (near.report().requests, near.report().last_s) == (1, 102.0)


def test_a_run_reaches_to_its_end_even_where_nothing_succeeded() -> None:
    recorder = Recorder(10.0, 0.1)
    recorder.ended(15.0)
    assert recorder.report().last_s == 15.0
