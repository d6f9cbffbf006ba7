"""Path style and virtual-host style, and the names that a bucket may have."""

from __future__ import annotations

import pytest

from gateway.s3.addressing import bucket_of_host, check_bucket, host_name, is_bucket_name
from gateway.s3.errors import S3Error

DOMAINS = ("localhost", "s3.example.com", "example.com:9000")


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("localhost", ""), ("localhost:9000", ""), ("LOCALHOST", ""), ("localhost.", ""), ("127.0.0.1:9000", ""),
        ("b" * 300 + ".localhost", ""),
        ("[::1]:9000", ""), ("[::1]", ""), ("", ""), ("node7", ""), ("node7.lan:9000", ""), ("notlocalhost", ""),
        ("bucket.localhost:9000", "bucket"), ("Bucket.LocalHost", "bucket"), ("a.b.localhost", "a.b"),
        ("bucket.s3.example.com", "bucket"), ("s3.example.com", ""), ("bucket.example.com", "bucket"),
        ("example.com", ""), ("10.0.0.1", ""),
    ],
)  # fmt: skip
def test_the_bucket_of_a_host(host: str, bucket: str) -> None:
    assert bucket_of_host(host, DOMAINS) == bucket


def test_without_domains_everything_is_path_style() -> None:
    assert bucket_of_host("bucket.localhost", ()) == ""
    assert bucket_of_host("bucket.localhost", ("",)) == ""


def test_host_names() -> None:
    assert host_name(" H.Example.:80 ") == "h.example"
    assert host_name("[FE80::1]:80") == "[fe80::1]"


GOOD = ["abc", "a" * 63, "a-b", "a.b.c", "0ab", "my-bucket.2024", "a.-b"]
BAD = [
    "", "ab", "a" * 64, "Abc", "a_b", "-ab", "ab-", ".ab", "ab.", "a..b", "..", "...", "1.2.3.4", "a/b", "a b",
    "bücket", "abc\n", "a\0b", "%61bc", "arn:aws:s3",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good_bucket_names(name: str) -> None:
    assert is_bucket_name(name)
    assert check_bucket(name) == name


@pytest.mark.parametrize("name", BAD)
def test_bad_bucket_names(name: str) -> None:
    assert not is_bucket_name(name)
    with pytest.raises(S3Error) as refused:
        check_bucket(name)
    assert (refused.value.code, refused.value.status) == ("InvalidBucketName", 400)
