"""The house stands: rules over every module, import contracts over the packages, and a canary for each of both."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from functools import lru_cache
from pathlib import Path, PurePosixPath

import pytest

from tests.unit.house import rules
from tests.unit.house.canaries import BAD_IMPORTS, CANARIES, GOOD_PATHS
from tests.unit.house.exceptions import ALLOWED, SHELLS

ROOT = Path(__file__).parents[2]
PACKAGES = ("cache", "gateway", "bench")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


@lru_cache
def modules() -> dict[PurePosixPath, ast.Module]:
    """Every module of the project, parsed, by its path from the root."""
    files = [path for package in (*PACKAGES, "tests") for path in sorted((ROOT / package).rglob("*.py"))]
    return {PurePosixPath(path.relative_to(ROOT)): ast.parse(path.read_bytes(), str(path)) for path in files}


@lru_cache
def all_rules() -> dict[str, rules.Rule]:
    """Every rule by its name: whatever ``rules.py`` defines with a rule's signature."""
    found = {
        name: value
        for name, value in vars(rules).items()
        if callable(value) and getattr(value, "__annotations__", {}) == rules.files_are_short.__annotations__
    }
    return found | {"HasPartner": rules.HasPartner(frozenset(modules()))}


def findings(name: str) -> list[str]:
    return [line for path, tree in modules().items() for line in all_rules()[name](path, tree)]


def is_allowed(name: str, line: str) -> bool:
    return (name, line.partition(":")[0]) in ALLOWED


@pytest.mark.parametrize("name", sorted(all_rules()))
def test_the_house_keeps_the_rule(name: str) -> None:
    assert [line for line in findings(name) if not is_allowed(name, line)] == []


@pytest.mark.parametrize(("rule", "path", "bad", "good"), CANARIES)
def test_a_rule_reports_its_canary_and_not_its_twin(rule: rules.Rule, path: str, bad: str, good: str) -> None:
    assert list(rule(PurePosixPath(path), ast.parse(bad)))
    assert list(rule(PurePosixPath(GOOD_PATHS.get(path, path)), ast.parse(good))) == []


def test_every_rule_has_a_canary() -> None:
    tried = {getattr(rule, "__name__", type(rule).__name__) for rule, *_ in CANARIES}
    assert tried == set(all_rules())


def test_every_exception_is_needed() -> None:
    needed = {(name, line.partition(":")[0]) for name in all_rules() for line in findings(name)}
    assert set(ALLOWED) <= needed


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_does_what_a_shell_may(shell: str) -> None:
    inside = [tree for path, tree in modules().items() if str(path) == shell or str(path).startswith(f"{shell}/")]
    assert inside, f"{shell} is marked as a shell and does not exist"
    assert any(list(rules.io_in(tree)) for tree in inside), f"{shell} is no shell"


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=100)


def test_import_contracts_hold() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


def test_every_contract_has_a_bad_import() -> None:
    assert {contract["name"] for contract in CONTRACTS} == set(BAD_IMPORTS)


@pytest.mark.parametrize("contract", sorted(BAD_IMPORTS))
def test_a_contract_turns_red_on_one_bad_import(contract: str, tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "results"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    name, line = BAD_IMPORTS[contract]
    with (tmp_path / name).open("a") as file:
        file.write(f"\n{line}\n")
    result = lint_imports(tmp_path)
    assert f"{contract} BROKEN" in result.stdout, result.stdout + result.stderr
