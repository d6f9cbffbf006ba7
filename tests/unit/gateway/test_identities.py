"""Identities: the file, its mistakes, and what a grant allows."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest

from gateway.identities import Grant, Identities, IdentitiesError, Identity, generate_identities, load_identities

FULL = """
[[identity]]
access_key = "trainer-key"
secret_key = "trainer-secret"
session_token = "trainer-token"
name = "trainer"
job = "llm"
rank = 3
gpus = 8
target = "7GB/s"
[[identity.grants]]
buckets = ["train-*", "common"]
prefixes = ["data/", "shards/"]
allow = ["read", "list"]
[[identity.grants]]
buckets = ["out"]
allow = ["write"]

[[identity]]
access_key = "second-key"
secret_key = "second-secret"
[[identity.grants]]
allow = ["read", "write", "list"]
"""


def load(tmp_path: Path, text: str | bytes) -> Identities:
    path = tmp_path / "identities.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_identities(str(path))


def test_a_full_file(tmp_path: Path) -> None:
    identities = load(tmp_path, FULL)
    first, second = identities.all()
    assert identities.find("trainer-key") is first
    assert identities.find("nobody") is None
    assert (first.name, first.job, first.rank, first.gpus, first.target) == ("trainer", "llm", "3", 8, 7e9)
    assert (second.name, second.job, second.rank, second.gpus, second.target) == ("second-k", "", "", 0, None)
    assert second.session_token == ""


@pytest.mark.parametrize(
    ("permission", "bucket", "key", "allowed"),
    [
        ("read", "train-a", "data/x", True), ("read", "train-a", "shards/", True), ("read", "train-a", "data", False),
        ("read", "train-a", "other/x", False), ("read", "train-a", "", False), ("read", "other", "data/x", False),
        ("read", "xtrain-a", "data/x", False), ("read", "common", "data/x", True), ("read", "common2", "data/x", False),
        ("write", "train-a", "data/x", False), ("write", "out", "anything", True), ("read", "out", "anything", False),
        ("list", "train-a", "data/", True), ("list", "train-a", "data/sub", True), ("list", "train-a", "", False),
        ("list", "train-a", "da", False), ("list", "out", "", False), ("list", "*", "", False),
        ("visit", "train-a", "", True), ("visit", "out", "", True), ("visit", "other", "", False),
    ],
)  # fmt: skip
def test_grants(tmp_path: Path, permission: str, bucket: str, key: str, allowed: bool) -> None:
    identity = load(tmp_path, FULL).find("trainer-key")
    assert identity is not None
    assert identity.may(permission, bucket, key) is allowed  # type: ignore[arg-type]  # literals by the table


def test_all_rights_include_the_list_of_buckets(tmp_path: Path) -> None:
    identity = load(tmp_path, FULL).find("second-key")
    assert identity is not None
    assert identity.may("list", "*", "")
    assert not Identity("abc", "secret-key").may("visit", "bucket", "")


def test_prefixes_are_literal() -> None:
    grant = Grant(("b?",), ("a*/",), frozenset({"read"}))
    assert grant.covers("read", "b1", "a*/x")
    assert not grant.covers("read", "b1", "ab/x")
    assert not grant.covers("read", "b12", "a*/x")


def table(**changes: str) -> str:
    keys = {"access_key": '"good-key"', "secret_key": '"good-secret"', **changes}
    return "[[identity]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items() if value)


ALL = '[[identity.grants]]\nallow = ["read"]\n'


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "no [[identity]] table"), ("identity = 1", "no [[identity]] table"), ("identity = []", "no [[identity]]"),
        ("identity = [1]", "write [[identity]]"), ("x = 1\n" + table() + ALL, "unknown key 'x'"),
        (table(acces_key='"a"') + ALL, "unknown key 'acces_key'"), (table(access_key="") + ALL, "access_key must be"),
        (table(access_key='"a"') + ALL, "access_key must be"),
        (table(access_key='"a/b/c"') + ALL, "access_key must be"),
        (table(access_key="1") + ALL, "access_key must be text"),
        (table(secret_key='"short"') + ALL, "secret_key must"),
        (table(secret_key="12345678") + ALL, "secret_key must be text"), (table(gpus='"8"') + ALL, "gpus must be"),
        (table(gpus="-1") + ALL, "gpus must be"), (table(gpus="true") + ALL, "gpus must be"),
        (table(rank="true") + ALL, "rank must be text"), (table(job="7") + ALL, "job must be text"),
        (table(target='"fast"') + ALL, "target must be a rate"), (table(target="7") + ALL, "target must be text"),
        (table(), "grants missing"), (table(grants="1"), "grants missing"), (table(grants="[1]"), "grants missing"),
        (table() + "[[identity.grants]]\n", "allow must be a list"), (table() + ALL + "bucket = []", "unknown key"),
        (table() + '[[identity.grants]]\nallow = ["delete"]\n', "allow must be some of"),
        (table() + ALL + "buckets = []", "buckets must be a list"),
        (table() + ALL + "prefixes = [1]", "prefixes must be"),
        (table() + ALL + table() + ALL, "given twice"), ("[[identity", "not valid TOML"), (b"\xff", "not valid TOML"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(tmp_path: Path, text: str | bytes, part: str) -> None:
    with pytest.raises(IdentitiesError) as wrong:
        load(tmp_path, text)
    told = str(wrong.value)
    assert part in told
    assert "\n" not in told
    assert told.startswith(str(tmp_path))
    assert "good-secret" not in told


def test_a_missing_file_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(IdentitiesError, match=r"set identities\.file"):
        load_identities(str(tmp_path / "none.toml"))


def test_a_first_file_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "identities.toml"
    made = generate_identities(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = load_identities(str(path)).find(made.access_key)
    assert loaded == made
    assert all(made.may(right, "any", "thing") for right in ("read", "write", "list", "visit"))
    assert tomllib.loads(path.read_text())["identity"][0]["secret_key"] == made.secret_key
    with pytest.raises(FileExistsError):
        generate_identities(str(path))
    assert generate_identities(str(tmp_path / "other.toml")).access_key != made.access_key


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    identity = load(tmp_path, FULL).find("trainer-key")
    assert "trainer-secret" not in repr(identity)
    assert "trainer-token" not in repr(identity)
