"""The layout's regions do not overlap, and operations find their groups."""

from __future__ import annotations

import json

import pytest

from cache.tally import Count
from gateway.meter import layout


def test_regions_follow_each_other() -> None:
    assert layout.STALLS + len(layout.CAUSES) == layout.MOVING_STOP <= layout.REQUESTS
    assert len(layout.REQUEST_CELLS) == layout.TIMES - layout.REQUESTS
    assert [cell[0] for cell in layout.REQUEST_CELLS] == list(range(layout.REQUESTS, layout.TIMES))
    assert layout.LABEL_OFFSET % 8 == 0
    assert layout.HEAD_TALLY + layout.TALLY_WORDS <= layout.PAGE_WORDS
    assert len(Count) <= layout.TALLY_WORDS


def test_the_longest_labels_fit() -> None:
    for worst in ("\x00", "\U0001f600", '"'):
        label = json.dumps([worst * layout.LABEL_CHARS_MAX] * 3, ensure_ascii=False).encode()
        assert len(label) <= layout.LABEL_BYTES_MAX


@pytest.mark.parametrize(
    ("operation", "group"),
    [
        ("GetObject", "GetObject"),
        ("HeadObject", "HeadObject"),
        ("GetObjectTagging", "read"),
        ("HeadBucket", "read"),
        ("GetBucketLocation", "read"),
        ("SelectObjectContent", "read"),
        ("ListObjectsV2", "list"),
        ("ListBuckets", "list"),
        ("PutObject", "write"),
        ("CopyObject", "write"),
        ("CreateBucket", "write"),
        ("DeleteObject", "delete"),
        ("DeleteObjects", "delete"),
        ("CreateMultipartUpload", "multipart"),
        ("ListMultipartUploads", "multipart"),
        ("UploadPart", "multipart"),
        ("UploadPartCopy", "multipart"),
        ("ListParts", "multipart"),
        ("AbortMultipartUpload", "multipart"),
        ("", "other"),
        ("Unheard", "other"),
    ],
)
def test_groups(operation: str, group: str) -> None:
    assert layout.group_of(operation) == group


def test_rows_are_bounded() -> None:
    rows = layout.OperationRows()
    for number in range(2 * layout.OPERATION_NAMES_MAX):
        assert rows[f"Get{number}"] == rows["GetObjectAcl"]
    assert len(rows) <= layout.OPERATION_NAMES_MAX
