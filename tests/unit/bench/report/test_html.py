from __future__ import annotations

from html.parser import HTMLParser

import msgspec

from bench.report.html import render_html
from bench.result import Cost, CpuUse, KindResult
from tests.unit.bench.report.a_result import a_result

VOID = {"meta", "line", "polyline", "polygon"}


class Reader(HTMLParser):
    """Checks that tags close in order and that nothing is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "link", "img", "iframe"}
        assert not [name for name, _ in attrs if name in {"src", "href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(page: str) -> str:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert "@import" not in page
    assert "url(" not in page
    return "\n".join(reader.words)


def test_the_page_is_whole_and_loads_nothing() -> None:
    said = read(render_html(msgspec.structs.replace(a_result(12.0, 2, 100), command="forebay bench --host h<1>")))
    for words in ("GB/s per GPU", "Throughput over time", "p99.9", "a cpu, 2 cores", "forebay bench --host h<1>"):
        assert words in said
    assert "Not measured" in said


def test_cost_and_errors_are_shown_where_there_are_any() -> None:
    cost = Cost(CpuUse(2.0, 0.5, 1.0), 123.0, 0.2, 8130, 5, 0.9, 0.5)
    said = read(render_html(msgspec.structs.replace(a_result(1.0, 1, 10), cost=cost, errors={"SlowDown": 7})))
    assert "123 µs" in said
    assert "SlowDown" in said
    assert "Not measured" not in said


def test_a_run_without_a_success_has_a_page() -> None:
    assert "0 B/s per GPU" in read(render_html(a_result(1.0, 1, 0)))


def test_an_open_loop_and_a_mix_are_shown() -> None:
    plain = a_result(1.0, 1, 10)
    kind = KindResult(3, 4, 1, 1.0, 1.0, plain.latency)
    said = read(
        render_html(
            msgspec.structs.replace(
                plain,
                service=plain.latency,
                service_buckets=plain.latency_buckets,
                unsent=7,
                kinds={"GET": kind, "PUT": kind},
            )
        )
    )
    for words in ("from the intended start", "service: from the sending", "7 operations were due", "By kind"):
        assert words in said
