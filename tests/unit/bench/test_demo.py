"""The demo's command line, and what it refuses before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.demo import BYTES_MAX, FILES_MAX, NoData, choose_sample, main, parse_options


def test_defaults() -> None:
    options = parse_options([])
    assert (options.nodes, options.workers, options.files, options.size) == (3, 2, FILES_MAX, BYTES_MAX)
    assert (options.load.gpus, options.load.target, options.once) == (1, 7e9, False)
    assert options.data.is_dir()


def test_everything_may_be_said(tmp_path: Path) -> None:
    text = f"--nodes 1 --workers 1 --data {tmp_path} --files 5 --size 1MiB --gpus 8 --target 5GB/s --dir /tmp --once"
    options = parse_options(text.split())
    assert (options.data, options.size, options.load.target, options.once) == (tmp_path, 1 << 20, 5e9, True)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--nodes", "0"], "from 1 to 16"),
        (["--nodes", "x"], "whole number"),
        (["--size", "lots"], "is no size"),
        (["--target", "fast"], "is no rate"),
        (["--data", "/does/not/exist"], "no such directory"),
        (["--what"], "unrecognized"),
    ],
)
def test_bad_command_lines(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_options(args)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_no_data_and_no_room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "--once"]) == 1
    assert "holds no file that fits" in capsys.readouterr().out.replace("\n", " ")
    (tmp_path / "x").write_bytes(bytes(1000))
    options = parse_options(["--data", str(tmp_path)])
    assert len(choose_sample(options, 1 << 30)) == 1
    with pytest.raises(NoData, match="room needed"):
        choose_sample(options, 1000)
