from __future__ import annotations

import pytest

from bench.options import BenchOptions, parse_duration, parse_options
from bench.plan import Mix
from bench.workloads import WORKLOADS


def parse(line: str, **environ: str) -> BenchOptions:
    return parse_options(line.split(), environ)


def test_a_line_written_for_warp() -> None:
    options = parse(
        "get --host 10.0.0.1:9000,10.0.0.2:9000 --access-key AK --secret-key SK --bucket b "
        "--obj.size 50MiB --objects 10000 --concurrent 100 --duration 1m30s --lookup host "
        "--tls --insecure --region eu-west-1 --noclear"
    )
    door, shape = options.plan.door, options.plan.shape
    assert door.endpoints == ("https://10.0.0.1:9000", "https://10.0.0.2:9000")
    assert (door.access_key, door.secret_key, door.bucket, door.region) == ("AK", "SK", "b", "eu-west-1")
    assert (door.lookup, door.insecure) == ("host", True)
    assert (shape.object_bytes, shape.objects, shape.concurrent, shape.duration_s) == (50 << 20, 10000, 100, 90.0)
    assert (shape.workload, shape.engine) == ("get", "raw")
    assert (options.prepare, options.clear) == (True, False)


def test_defaults_are_warps_and_the_target_is_seven_per_gpu() -> None:
    options = parse("")
    shape = options.plan.shape
    assert (shape.object_bytes, shape.objects, shape.concurrent, shape.duration_s) == (10 << 20, 2500, 20, 300.0)
    assert (options.gpus, options.target, options.prepare, options.clear) == (1, 7e9, True, True)
    assert options.plan.door.endpoints == ("http://127.0.0.1:9000",)


def test_the_report() -> None:
    options = parse("--gpus 8 --target 2.5GB/s --json a.json --png a.png --quiet")
    assert (options.gpus, options.target, options.json_path, options.png_path) == (8, 2.5e9, "a.json", "a.png")
    assert options.quiet


@pytest.mark.parametrize(
    ("line", "workload", "range_bytes"),
    [
        ("", "get", 0),
        ("range", "range", 0),
        ("--workload range", "range", 0),
        ("--range", "range", 0),
        ("--range-size 1MiB", "range", 1 << 20),
        ("range --range-size 64KiB", "range", 64 << 10),
    ],
)
def test_the_workload(line: str, workload: str, range_bytes: int) -> None:
    shape = parse(line).plan.shape
    assert (shape.workload, shape.range_bytes) == (workload, range_bytes)


def test_a_workload_brings_its_shape_and_a_flag_overrules_it() -> None:
    shape = parse("headline").plan.shape
    assert (shape.objects, shape.object_bytes, shape.range_bytes) == (10_000, 50_000_000, 15_000_000)
    assert shape.concurrent == 100
    shape = parse("headline --scale 0.01 --part.size 8MiB --concurrent 10").plan.shape
    assert (shape.objects, shape.range_bytes, shape.concurrent) == (100, 8 << 20, 10)
    assert parse("fanout").plan.shape.objects == 1
    assert parse("fanout --objects 3 --scale 0.001").plan.shape.objects == 1


def test_the_mix_is_warps_and_a_listing_now_and_then() -> None:
    assert parse("mixed").plan.shape.mix == Mix(get=45, put=15, stat=30, delete=10, list=5)
    shape = parse("mixed --get-distrib 10 --delete-distrib 0").plan.shape
    assert shape.mix == Mix(get=10, put=15, stat=30, delete=0, list=5)


@pytest.mark.parametrize(
    ("text", "rate", "by_bytes"),
    [("500", 500.0, False), ("2.5/s", 2.5, False), ("2GB/s", 2e9, True), ("1MiB/s", float(1 << 20), True)],
)
def test_an_open_loop(text: str, rate: float, *, by_bytes: bool) -> None:
    for name in ("--rate", "--rps-limit"):
        shape = parse(f"{name} {text}").plan.shape
        assert (shape.rate, shape.rate_by_bytes) == (rate, by_bytes)
    assert parse("").plan.shape.arrivals is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 0), ("--warmup 0", 0), ("--warmup 0s", 0), ("--warmup 1m", 60), ("--warmup 500ms", 0.5)]
)
def test_a_warm_up(text: str, seconds: float) -> None:
    shape = parse(text).plan.shape
    assert (shape.warmup_s, shape.duration_s) == (seconds, 300.0)


def test_clients_elsewhere() -> None:
    shape = parse("--ray 10.0.0.1:6379 --processes 4").plan.shape
    assert (shape.ray, shape.processes) == ("10.0.0.1:6379", 4)
    assert parse("--engine torch --batch 8").plan.shape.batch == 8


def test_help_names_every_workload(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in WORKLOADS)


def test_hosts_by_number_as_warp_writes_them() -> None:
    door = parse("--host 10.0.0.{1...3}:9000,a{1...2}-{8...9}").plan.door
    names = [endpoint.removeprefix("http://") for endpoint in door.endpoints]
    assert names[:3] == ["10.0.0.1:9000", "10.0.0.2:9000", "10.0.0.3:9000"]
    assert names[3:] == ["a1-8", "a1-9", "a2-8", "a2-9"]


def test_an_endpoint_brings_its_scheme() -> None:
    assert parse("--endpoint https://s3.example:443/").plan.door.endpoints == ("https://s3.example:443",)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WARP_HOST": "w:1", "AWS_ENDPOINT_URL": "http://a:2"}, "http://w:1"),
        ({"AWS_ENDPOINT_URL_S3": "http://s:3", "AWS_ENDPOINT_URL": "http://a:2"}, "http://s:3"),
        ({"AWS_ENDPOINT_URL": "http://a:2"}, "http://a:2"),
    ],
)
def test_the_environment_says_where(environ: dict[str, str], expected: str) -> None:
    assert parse("", **environ).plan.door.endpoints == (expected,)


def test_the_environment_brings_keys_and_a_flag_overrules_it() -> None:
    aws = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK", "AWS_SESSION_TOKEN": "T", "AWS_REGION": "r"}
    door = parse("", **aws).plan.door
    assert (door.access_key, door.secret_key, door.session_token, door.region) == ("AK", "SK", "T", "r")
    assert parse("--access-key mine", **aws).plan.door.access_key == "mine"


def test_without_preparation_nothing_is_removed() -> None:
    options = parse("--noprepare")
    assert (options.prepare, options.clear) == (False, False)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--obj.size lots", "no size"),
        ("--target 7Gb/s", "no rate"),
        ("--target 0", "no target"),
        ("--duration soon", "no duration"),
        ("--duration 0s", "no duration"),
        ("--warmup soon", "no duration"),
        ("--warmup -1s", "warmup"),
        ("--warmup 00", "no duration"),
        ("checkpoint --warmup 2s", "--warmup does not go with the workload 'checkpoint'"),
        ("--objects 0", "no count"),
        ("--concurrent -3", "concurrent"),
        ("--engine curl", "invalid choice"),
        ("--lookup dns", "invalid choice"),
        ("--workload get --range", "does not go"),
        ("get --workload range", "contradict"),
        ("--engine boto3 --discard", "raw only"),
        ("--endpoint ftp://x", "http://"),
        ("get --range-size 1KiB", "does not go"),
        ("mixed --part.size 1MiB", "does not go"),
        ("get --put-distrib 5", "does not go"),
        ("mixed --get-distrib x", "no count"),
        ("mixed --get-distrib 0 --put-distrib 0 --stat-distrib 0 --delete-distrib 0 --list-distrib 0", "all 0"),
        ("checkpoint --rate 5", "a burst has no rate"),
        ("--rate 0", "no rate"),
        ("--rate fast", "no rate"),
        ("--scale 0", "no scale"),
        ("--scale -1", "scale"),
        ("--engine torch range", "whole objects; get, shuffle, fanout"),
        ("--engine torch shuffle --range-size 1KiB", "whole objects"),
        ("--ray auto", "--processes"),
        ("--nonsense", "unrecognized"),
        ("--obj=5", "unrecognized"),
    ],
)
def test_what_makes_no_sense_ends_in_one_line_and_exit_2(
    line: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse(line)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert why in said
    assert said.startswith("forebay bench: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("1m30s", 90), ("500ms", 0.5), ("2h", 7200), ("1.5s", 1.5), ("10", 10)]
)
def test_durations_as_go_writes_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1s2", "1 s", "1d", "nan"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(text)
