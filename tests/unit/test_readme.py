"""The README tells the truth about what can be checked without running it: settings, examples, links, make targets."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.flags import FLAGS
from gateway.identities import parse_identities
from gateway.settings import FreshnessSettings, MemberSettings, Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def all_fields() -> Iterator[tuple[str, str]]:
    """(dotted key, meaning) of every setting, those of listed tables included."""
    tables: dict[str, Any] = {name: field.annotation for name, field in Settings.model_fields.items()}
    tables |= {"freshness": FreshnessSettings, "cluster.members": MemberSettings}
    for table, model in tables.items():
        for name, field in model.model_fields.items():
            if f"{table}.{name}" not in tables:
                yield f"{table}.{name}", str(field.description)


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_setting_is_in_the_table_and_no_other() -> None:
    rows = dict(re.findall(r"^\| `(\w+\.[\w.]+)` \| [^|]* \| (.*) \|$", README, re.MULTILINE))
    assert rows == dict(all_fields())


def test_the_settings_example_is_one() -> None:
    (text,) = [example for example in examples("toml") if "[upstream]" in example]
    document = tomllib.loads(text)
    document["cluster"] |= {"node_id": "gpu-1", "secret": "s" * 32}
    settings = Settings.model_validate(document)
    assert [node.id for node in settings.view.nodes] == ["gpu-1", "gpu-2"]
    assert (settings.freshness[0].bucket, settings.freshness[0].mode) == ("datasets", "immutable")


def test_the_identities_example_is_one() -> None:
    (text,) = [example for example in examples("toml") if "[[identity]]" in example]
    (identity,) = parse_identities(tomllib.loads(text)).all()
    assert identity.may("read", "ckpt-1", "any/key")
    assert not identity.may("write", "datasets", "any/key")


@pytest.mark.parametrize("text", examples("python"))
def test_python_examples_compile(text: str) -> None:
    compile(text, "README.md", "exec")


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make (\w+)", README)) <= targets
    assert targets >= {"setup", "demo", "test", "lint", "bench", "clean"}


def test_flags_are_named() -> None:
    assert all(f"`{flag}`" in README for flag in FLAGS.values())
