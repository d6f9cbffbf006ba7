"""For each rule a sample that it must report and a good twin that it must not: (rule, path, bad, good)."""

from __future__ import annotations

from pathlib import PurePosixPath

from tests.unit.house import rules

_PARTNERS = rules.HasPartner(frozenset({PurePosixPath("tests/unit/cache/test_ring.py")}))
_METHODS = "\n".join(f"    def m{n}(self): ..." for n in range(11))
_LONG = "def f():\n" + "    x = 1\n" * 50
_DOCUMENTED = 'def f():\n    """One.\n\n    Three.\n    """\n' + "    x = 1\n" * 49

CANARIES: tuple[tuple[rules.Rule, str, str, str], ...] = (
    (rules.does_no_io, "cache/ring.py", "import os.path", "import bisect"),
    (rules.does_no_io, "cache/ring.py", "def f():\n    from time import monotonic", "from math import inf"),
    (rules.does_no_io, "cache/ring.py", "async def f(): ...", "def f(): ..."),
    (
        rules.does_no_io,
        "cache/ports.py",
        "class Store(asyncio.Protocol):\n    async def open(self): ...",
        "class Store(Protocol):\n    async def open(self): ...",
    ),
    (rules.functions_are_short, "cache/ring.py", _LONG, _DOCUMENTED),
    (rules.files_are_short, "cache/ring.py", "x = 1\n" * 401, "x = 1\n" * 400),
    (rules.classes_are_narrow, "cache/ring.py", f"class A:\n{_METHODS}", f"class A:\n{_METHODS}".replace("m0", "_m0")),
    (
        rules.classes_are_narrow,
        "cache/ring.py",
        f"class A(B):\n{_METHODS}",
        f"class A(B):\n{_METHODS}".replace("    def m0", "    @override\n    def m0"),
    ),
    (
        rules.classes_are_narrow,
        "cache/ports.py",
        "class P(Protocol):\n" + "\n".join(_METHODS.splitlines()[:6]),
        "class P(Protocol):\n" + "\n".join(_METHODS.splitlines()[:5]),
    ),
    (rules.opens_with_theory, "cache/ring.py", "import math", '"""The ring."""\nimport math'),
    (rules.opens_with_theory, "cache/ring.py", '"""' + "A line.\n" * 21 + '"""', '"""' + "A line.\n" * 20 + '"""'),
    (rules.names_say_something, "cache/helpers.py", "", ""),
    (rules.names_say_something, "cache/ring.py", "class FillManager: ...", "class Fill: ..."),
    (rules.names_say_something, "cache/ring.py", "def base_of(): ...", "def database_of(): ..."),
    (rules.queues_are_bounded, "cache/ring.py", "q = asyncio.Queue()", "q = asyncio.Queue(8)"),
    (rules.queues_are_bounded, "cache/ring.py", "q = Queue(maxsize=0)", "q = Queue(maxsize=8)"),
    (rules.tests_do_not_sleep, "tests/unit/test_x.py", "time.sleep(1)", "await asyncio.sleep(0)"),
    (rules.tests_do_not_patch, "tests/unit/test_x.py", "from unittest.mock import Mock", "import json"),
    (
        rules.tests_do_not_patch,
        "tests/unit/test_x.py",
        "monkeypatch.setattr(a, 'b', 1)",
        "monkeypatch.setenv('A', '1')",
    ),
    (_PARTNERS, "cache/plan.py", "def f(): ...", "X = 1"),
)

GOOD_PATHS: dict[str, str] = {"cache/helpers.py": "cache/help.py"}  # where the path, not the text, is the sample

BAD_IMPORTS: dict[str, tuple[str, str]] = {  # contract -> (file, the line that must turn it red)
    "The harness is above the gateway, the gateway above the cache": ("cache/views.py", "import gateway.quantities"),
    "Floors of the cache": ("cache/versions.py", "import cache.ports"),
    "Floors of the gateway": ("gateway/identities.py", "import gateway.settings"),
    "Only the roots know the cache's adapters": ("gateway/reads.py", "import cache.store.files"),
    "The loader's side needs no server": ("gateway/client/reader.py", "import aiohttp"),
}
