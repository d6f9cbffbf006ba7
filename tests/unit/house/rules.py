"""The house rules: each a pure function (path, tree) -> findings, over Python's own syntax tree.

A path is relative to the project (``cache/ring.py``); a finding is one line that says what breaks the rule and where.
The rules know nothing of files: ``test_architecture.py`` walks the tree, and tries each rule on a sample that it must
report and on a twin that it must not. What may deviate stands in ``exceptions.py``, with its reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from tests.unit.house.exceptions import SHELLS

Rule = Callable[[PurePosixPath, ast.Module], Iterator[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef

IO_MODULES = frozenset(
    {"asyncio", "os", "socket", "time", "random", "threading", "aiohttp", "lmdb"}
    | {"uvloop", "selectors", "subprocess", "multiprocessing", "ssl"}
)
NO_NAMES = frozenset({"utils", "util", "helpers", "helper", "manager", "common", "misc", "base", "core"})
QUEUES = frozenset({"Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"})
FUNCTION_LINES_MAX, FILE_LINES_MAX, PUBLIC_METHODS_MAX, PORT_METHODS_MAX = 50, 400, 10, 5
THEORY_LINES_MAX = 20


def is_sans_io(path: PurePosixPath) -> bool:
    """Whether the module must do without a loop, a socket, a file or a clock."""
    marked = any(str(place) in SHELLS for place in (path, *path.parents))
    return path.parts[0] in {"cache", "gateway"} and not marked


def _imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


def _called(node: ast.AST) -> str:
    """The last name of what a call calls: ``Queue`` for ``asyncio.Queue(...)``; else an empty string."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_protocol(node: ast.AST) -> bool:
    """Whether a class is a ``typing.Protocol`` (asyncio's protocols are something else)."""
    names = [ast.unparse(base).partition("[")[0] for base in getattr(node, "bases", ())]
    return isinstance(node, ast.ClassDef) and bool({"Protocol", "typing.Protocol"} & set(names))


def _overrides(node: Function) -> bool:
    return any(ast.unparse(decorator).endswith("override") for decorator in node.decorator_list)


def _own_lines(node: Function) -> int:
    """Lines of a function, its decorators and its docstring off."""
    first = node.body[0]
    docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) is not None else 0  # type: ignore[operator]
    return node.end_lineno - node.lineno + 1 - docstring  # type: ignore[operator]


def io_in(tree: ast.Module) -> Iterator[str]:
    """``line: what`` for all that makes a module a shell: imports that wait, tell the time or roll dice; coroutines.

    A protocol may ask its implementers for coroutines.
    """
    for line, name in _imported(tree):
        if name.partition(".")[0] in IO_MODULES:
            yield f"{line}: imports {name}"
    asked = {id(child) for node in ast.walk(tree) if _is_protocol(node) for child in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef) and id(node) not in asked:
            yield f"{node.lineno}: {node.name} is a coroutine"


def does_no_io(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """A module that is no shell imports no loop, socket, file, clock or dice, and has no coroutine."""
    if is_sans_io(path):
        yield from (f"{path}:{found}, in a sans-IO module" for found in io_in(tree))


def functions_are_short(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """No function over 50 lines, docstring off."""
    for node in ast.walk(tree):
        if isinstance(node, Function) and _own_lines(node) > FUNCTION_LINES_MAX:
            yield f"{path}:{node.lineno}: {node.name} has {_own_lines(node)} lines"


def files_are_short(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """No file over 400 lines."""
    last = max((node.end_lineno or 0 for node in tree.body), default=0)
    if last > FILE_LINES_MAX:
        yield f"{path}: {last} lines"


def classes_are_narrow(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """No class with over 10 public methods, no protocol with over 5; what a parent asks for (``@override``) aside."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            names = {child.name for child in node.body if isinstance(child, Function) and not _overrides(child)}
            public = sum(not name.startswith("_") for name in names)
            limit = PORT_METHODS_MAX if _is_protocol(node) else PUBLIC_METHODS_MAX
            if public > limit:
                yield f"{path}:{node.lineno}: {node.name} has {public} public methods, over {limit}"


def opens_with_theory(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """A module of the product opens with its theory; a page of it is two modules."""
    if path.parts[0] != "tests":
        lines = len((ast.get_docstring(tree) or "").splitlines())
        if lines == 0 or lines > THEORY_LINES_MAX:
            yield f"{path}: its theory has {lines} lines, not 1 to {THEORY_LINES_MAX}"


def names_say_something(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """No module, class or function is called utils, helpers, manager, common, misc, base or core."""
    for part in path.with_suffix("").parts:
        if NO_NAMES & set(part.split("_")):
            yield f"{path}: {part} says nothing"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", node.name).lower().split("_")
            if NO_NAMES & set(words):
                yield f"{path}:{node.lineno}: {node.name} says nothing"


def queues_are_bounded(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """Every queue has a size; 0 is none."""
    for node in ast.walk(tree):
        if _called(node) in QUEUES and isinstance(node, ast.Call):
            sizes = [*node.args, *(word.value for word in node.keywords if word.arg == "maxsize")]
            if not sizes or (isinstance(sizes[0], ast.Constant) and sizes[0].value == 0):
                yield f"{path}:{node.lineno}: a queue without a bound"


def tests_do_not_sleep(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """A test waits for events. ``asyncio.sleep(0)``, which gives way once, is no wait."""
    if path.parts[0] == "tests":
        for node in ast.walk(tree):
            if _called(node) == "sleep" and not ast.unparse(node).endswith("(0)"):
                yield f"{path}:{node.lineno}: a test sleeps"


def tests_do_not_patch(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """No mocks, and nothing of ours is replaced from outside: doubles are ports or servers."""
    if path.parts[0] == "tests":
        for line, name in _imported(tree):
            if name in {"mock", "unittest.mock"}:
                yield f"{path}:{line}: a test imports {name}"
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"monkeypatch.setattr", "mocker.patch"}:
                yield f"{path}:{node.lineno}: a test patches"


def partner_of(path: PurePosixPath) -> PurePosixPath:
    """The test file that alone covers a module: tests/unit/cache/test_ring.py for cache/ring.py."""
    return PurePosixPath("tests/unit") / path.parent / f"test_{path.name}"


@dataclass(frozen=True, slots=True)
class HasPartner:
    """A sans-IO module that does something has its partner among the ``tests`` there are."""

    tests: frozenset[PurePosixPath]

    def __call__(self, path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
        """The finding, if there is no partner."""
        asked = {id(child) for node in ast.walk(tree) if _is_protocol(node) for child in ast.walk(node)}
        acts = any(isinstance(node, Function) and id(node) not in asked for node in ast.walk(tree))
        if is_sans_io(path) and acts and path.name != "__init__.py" and partner_of(path) not in self.tests:
            yield f"{path}: no {partner_of(path)}"
