"""The command line in this process: exit codes, one-line errors, and what each verb prints."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.verbs import run

VERBS = ("serve", "demo", "status", "config", "bench", "warm")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("FOREBAY_CONFIG", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(re.search(rf"\b{verb}\b", printed) for verb in VERBS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert re.fullmatch(r"forebay \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["fly"], "forebay: No such command 'fly'. (forebay --help tells more)\n"),
        (["config", "--bogus"], "forebay: No such option: --bogus (forebay --help tells more)\n"),
        (["config", "--set", "port"], "forebay: --set: 'port' assigns nothing; write --set section.key=value\n"),
        (
            ["config", "--port", "x"],
            "forebay: server.port: 'x' is no whole number (command line); "
            "write a whole number (port that clients connect to)\n",
        ),
        (
            ["serve"],
            "forebay: upstream.endpoint: no upstream is named; give --upstream URL or set it in the TOML file\n",
        ),
        (["warm", "bucket"], None),
        (["warm", "s3://b", "--endpoint", "http://h/path"], None),
        (["warm", "s3://b"], None),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    arguments: list[str], line: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("forebay: ")
    assert line is None or printed.err == line


def test_wrong_identities_stop_the_node_before_it_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "identities.toml").write_text("[[identity]]\n")
    assert run(["serve", "--upstream", "http://127.0.0.1:1", "--cache-dir", str(tmp_path)]) == 2
    assert re.match(r"forebay: identities\.file: .+\n\Z", capsys.readouterr().err)


def test_config_as_json_tells_values_and_origins_and_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[upstream]\naccess_key = "a"\nsecret_key = "hush"\n')
    monkeypatch.setenv("FOREBAY_SERVER__ADMIN_PORT", "9999")
    arguments = ["config", "--json", "--config", str(path), "--port", "9001", "--set", "cache.policy=lru"]
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    document = json.loads(printed)
    assert document["server.port"] == {"value": 9001, "origin": "--port"}
    assert document["cache.policy"] == {"value": "lru", "origin": "--set"}
    assert document["server.admin_port"] == {"value": 9999, "origin": "FOREBAY_SERVER__ADMIN_PORT"}
    assert document["upstream.secret_key"] == {"value": "********", "origin": f"{path}:3"}
    assert document["server.host"] == {"value": "127.0.0.1", "origin": "default"}
    assert "hush" not in printed


def test_config_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "--quota", "1GiB"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"cache\.quota +1073741824 +--quota", printed)
    assert re.search(r"server\.port +9000 +default", printed)


def test_status_of_nobody_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--admin", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_needs_no_server_to_answer() -> None:
    """Loading the command line imports neither the server nor the harness: it answers at once."""
    heavy = {"aiohttp", "lmdb", "bench", "rich.progress"}
    script = f"import sys, gateway.cli.verbs; print(*sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "\n"


def test_python_m_is_the_command() -> None:
    command = [sys.executable, "-m", "gateway.cli", "fly"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 2
    assert result.stderr.startswith("forebay: No such command")
