from __future__ import annotations

from xml.etree import ElementTree

from bench.report import svg


def test_marks_are_well_formed_and_text_is_escaped() -> None:
    marks = [
        svg.line((0, 0), (1.23456, 2), "axis"),
        svg.path([(0, 0), (1, 1)], "curve"),
        svg.path([(0, 0), (1, 1), (2, 0)], "area", closed=True),
        svg.rectangle((0, 0), -1, 3, "bar", title="<b>"),
        svg.text((0, 0), "a < b & c", "tick", anchor="end"),
        svg.dot((1, 1), 2, "mark"),
    ]
    tree = ElementTree.fromstring(svg.drawing(10, 20, marks, label='"x"'))
    assert [child.tag for child in tree] == ["line", "polyline", "polygon", "rect", "text", "circle"]
    assert tree[0].get("x2") == "1.23"
    assert (tree[3].get("width"), tree[3][0].text) == ("0", "<b>")
    assert tree[4].text == "a < b & c"
    assert tree.get("aria-label") == '"x"'
