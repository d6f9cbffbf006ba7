from __future__ import annotations

import msgspec
import pytest

from bench.cost import PathSample
from bench.lines.document import FORMAT, LinesResult, parse_json, render_json
from bench.lines.verdict import at_most
from tests.unit.bench.report.a_result import MACHINE


def test_a_document_is_kept() -> None:
    result = LinesResult(
        FORMAT, "now", MACHINE, 0.1, 5, [at_most("5", "x", 1.0, 2.0, "s")], [PathSample("hit", 1, 2, 3.0, 2)],
        {"cold": {"a": [1.0]}}, {"clients": "no crt"},
    )  # fmt: skip
    assert parse_json(render_json(result)) == result
    with pytest.raises(ValueError, match="format 9"):
        parse_json(render_json(msgspec.structs.replace(result, format=9)))
