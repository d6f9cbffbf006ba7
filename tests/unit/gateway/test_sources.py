"""Where settings come from: precedence, origins, completion, and one line for whatever is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.sources import COMMAND_LINE, DEFAULT, BadSetting, Loaded, load, load_settings, setting_keys, variable_of

HOME = {"HOME": "/home/me"}
SECRET = "s" * 32
MEMBERS = [{"id": "a", "host": "h", "peer_port": 9300, "workers": 2}, {"id": "b", "host": "h", "workers": 2}]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "forebay.toml"
    path.write_text('[server]\nport = 9001\nlog_level = "debug"\n\n[cache]\nquota = "64GB"\n')
    return path


def read(overrides: Mapping[str, object] | None = None, /, config: Path | None = None, **variables: str) -> Loaded:
    return load(config, overrides, HOME | variables)


def complaint(overrides: Mapping[str, object] | None = None, /, config: Path | None = None, **variables: str) -> str:
    with pytest.raises(BadSetting) as caught:
        read(overrides, config, **variables)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_higher_source_wins_and_is_remembered(config: Path) -> None:
    loaded = read({"server.port": "9003"}, config, FOREBAY_SERVER__PORT="9002", FOREBAY_SERVER__LOG_LEVEL="error")
    assert (loaded.settings.server.port, loaded.origins["server.port"]) == (9003, COMMAND_LINE)
    assert (loaded.settings.server.log_level, loaded.origins["server.log_level"]) == (
        "error",
        "FOREBAY_SERVER__LOG_LEVEL",
    )
    assert (loaded.settings.cache.quota, loaded.origins["cache.quota"]) == (64 * 10**9, f"{config}:6")
    assert (loaded.settings.cache.policy, loaded.origins["cache.policy"]) == ("s3fifo", DEFAULT)


def test_every_key_has_an_origin_and_a_variable() -> None:
    loaded = read()
    assert list(loaded.origins) == list(setting_keys())
    assert "freshness" in loaded.origins
    assert variable_of("server.port") == "FOREBAY_SERVER__PORT"


def test_the_file_may_be_named_by_a_variable_and_the_flag_wins(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("server.port = 9009\n")
    assert read(FOREBAY_CONFIG=str(config)).settings.server.port == 9001
    assert read(None, other, FOREBAY_CONFIG=str(config)).settings.server.port == 9009
    assert read(None, other).origins["server.port"] == f"{other}:1"


def test_lists_in_a_file_and_in_variables(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(
        f'[cluster]\nnode_id = "a"\nsecret = "{SECRET}"\n[[cluster.members]]\nid = "a"\nhost = "h"\nworkers = 2\n'
        '[[freshness]]\nbucket = "x"\nmode = "always"\n'
    )
    loaded = read(None, path)
    assert [member.id for member in loaded.settings.cluster.members] == ["a"]
    assert [(rule.bucket, rule.mode) for rule in loaded.settings.freshness] == [("x", "always")]
    assert loaded.origins["freshness"] == f"{path}:8"
    loaded = read(None, path, FOREBAY_FRESHNESS='[{"mode": "immutable"}]', FOREBAY_CLUSTER__MEMBERS=json.dumps(MEMBERS))
    assert [(rule.bucket, rule.mode) for rule in loaded.settings.freshness] == [("*", "immutable")]
    assert [member.id for member in loaded.settings.cluster.members] == ["a", "b"]


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_SERVER__PORT", "9005")
    assert load_settings().server.port == 9005


def test_variables_that_kubernetes_sets_are_not_ours() -> None:
    assert read(FOREBAY_PORT="tcp://10.0.0.1:9000", FOREBAY_SERVICE_HOST="10.0.0.1").settings.server.port == 9000


def test_the_machine_completes_what_nobody_set() -> None:
    settings = read().settings
    assert settings.server.workers == len(os.sched_getaffinity(0))
    assert settings.cache.directory == "/home/me/.cache/forebay"
    assert settings.identities.file == "/home/me/.cache/forebay/identities.toml"
    assert settings.node.id == settings.cluster.node_id != ""
    assert read(XDG_CACHE_HOME="/x").settings.cache.directory == "/x/forebay"
    assert read({"cache.directory": "/d"}).settings.identities.file == "/d/identities.toml"


def test_empty_and_zero_mean_unset() -> None:
    settings = read({"server.workers": "0", "cache.directory": "", "cluster.node_id": ""}).settings
    assert settings.server.workers == len(os.sched_getaffinity(0))
    assert settings.cache.directory == "/home/me/.cache/forebay"
    assert settings.cluster.node_id


def test_a_member_takes_its_workers_and_port_from_the_list() -> None:
    loaded = read({"cluster.members": MEMBERS, "cluster.node_id": "a", "cluster.secret": SECRET})
    assert loaded.settings.server.workers == 2
    assert loaded.settings.cluster.peer_port == 9300
    assert loaded.origins["server.workers"] == "cluster.members"
    given = {"cluster.members": MEMBERS, "cluster.node_id": "a", "cluster.secret": SECRET, "cluster.peer_port": 9999}
    assert complaint(given).startswith("cluster.peer_port: 9999 here but 9300 in cluster.members (command line); ")


def test_the_secret_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    given = {"cluster.members": MEMBERS, "cluster.node_id": "a", "cluster.secret_file": str(path)}
    loaded = read(given)
    assert loaded.settings.cluster.secret.get_secret_value() == SECRET
    assert loaded.origins["cluster.secret"] == str(path)
    assert complaint(given | {"cluster.secret": SECRET}).startswith("cluster.secret_file: cluster.secret is set too;")
    assert "cannot be read" in complaint(given | {"cluster.secret_file": str(tmp_path / "none")})


LONE = {"cluster.members": MEMBERS, "cluster.node_id": "a"}
COMPLAINTS: list[tuple[dict[str, Any], dict[str, str], str, str]] = [  # flags, variables, what is wrong, the fix
    ({"server.prot": 1}, {}, "server.prot: there is no such setting (command line)", "did you mean server.port?"),
    (
        {},
        {"FOREBAY_CACH__QUOTA": "1"},
        "cach.quota: there is no such setting (FOREBAY_CACH__QUOTA)",
        "did you mean cache?",
    ),
    (
        {},
        {"FOREBAY_SERVER__PORT": "99999"},
        "server.port: 99999 is too large (FOREBAY_SERVER__PORT)",
        "use 65535 or less (port that clients connect to)",
    ),
    (
        {"server.workers": "x"},
        {},
        "server.workers: 'x' is no whole number (command line)",
        "write a whole number (data workers; 0: one per core)",
    ),
    (
        LONE,
        {},
        "cluster.secret: members are listed but there is no secret",
        "set cluster.secret_file or FOREBAY_CLUSTER__SECRET to at least 32 bytes",
    ),
    (
        LONE | {"cluster.node_id": "c", "cluster.secret": SECRET},
        {},
        "cluster.node_id: 'c' is not among the members a, b (command line)",
        "add it, or name one",
    ),
    (
        {"server.auth": "none"},
        {"FOREBAY_SERVER__HOST": "0.0.0.0"},
        'server.auth: "none" on 0.0.0.0 lets anyone in (command line)',
        'set server.auth = "sigv4", bind 127.0.0.1, or set server.allow_insecure = true',
    ),
    (
        {},
        {"FOREBAY_CACHE__QUOTA": "lots"},
        "cache.quota: 'lots' is no size (FOREBAY_CACHE__QUOTA)",
        "write a size such as 8MiB, 64GB or 1048576",
    ),
    (
        {"freshness": "x"},
        {},
        "freshness: this is no JSON (Expecting value: line 1 column 1 (char 0)) (command line)",
        "write a JSON list of objects",
    ),
    ({"freshness": 5}, {}, "freshness: this is no list (command line)", "write a list (see README.md)"),
    (
        {"freshness": [{"ttl": 1}]},
        {},
        "freshness.0.ttl: there is no such setting (command line)",
        "did you mean freshness.0.ttl_s?",
    ),
    (
        {"cluster.members": [{"id": "a", "host": "h"}]},
        {},
        "cluster.members.0.workers: it is missing (command line)",
        "add it (the node's data workers)",
    ),
]


@pytest.mark.parametrize(("overrides", "variables", "wrong", "fix"), COMPLAINTS)
def test_one_line_with_the_key_and_the_fix(
    overrides: dict[str, Any], variables: dict[str, str], wrong: str, fix: str
) -> None:
    assert complaint(overrides, **variables) == f"{wrong}; {fix}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("server = 5\n", "server: this is a section, not a value; write [server] and its keys below"),
        ("[sever]\nport = 1\n", "sever: there is no such setting ({path}); did you mean server?"),
        ("[server]\n\nprot = 1\n", "server.prot: there is no such setting ({path}:3); did you mean server.port?"),
        (
            "[server]\nport = [1]\n",
            "server.port: this is no whole number ({path}:2); write a whole number (port that clients connect to)",
        ),
    ],
)
def test_a_wrong_file(text: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    assert complaint(None, path) == line.format(path=path)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    assert complaint(None, path) == f"--config: {path} cannot be read (No such file or directory); name a TOML file"
    path.write_text("[server\n")
    assert complaint(None, path).startswith(f"--config: {path} is no TOML (")


def test_a_secret_is_never_quoted() -> None:
    given = {"cluster.members": MEMBERS, "cluster.node_id": "a", "cluster.secret": "hush"}
    assert "hush" not in complaint(given)
    assert "hush" not in complaint({"upstream.secret_key": "hush"})
    assert "hush" not in complaint({"upstream.secret_key": ["hush"]})
