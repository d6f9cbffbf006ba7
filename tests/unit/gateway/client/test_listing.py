"""Listings: odd keys come back as they are, and nothing that is no listing passes for one."""

from __future__ import annotations

import pytest

from gateway.client.errors import GatewayError
from gateway.client.listing import ObjectInfo, list_request, parse_buckets, parse_page

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@pytest.mark.parametrize("namespace", ["", NAMESPACE])
def test_a_page_is_parsed(namespace: str) -> None:
    document = f"""<?xml version="1.0"?><ListBucketResult {namespace}><EncodingType>url</EncodingType>
      <IsTruncated>true</IsTruncated><NextContinuationToken>t/1</NextContinuationToken>
      <Contents><Key>a%20b/%2Bc%01+d</Key><Size>7</Size><ETag>&quot;e&quot;</ETag><LastModified>L</LastModified></Contents>
      <Contents><Key>plain</Key><Size>0</Size></Contents>
      <CommonPrefixes><Prefix>p%25/</Prefix></CommonPrefixes></ListBucketResult>"""
    page = parse_page(document.encode())
    assert page.objects == (ObjectInfo("a b/+c\x01 d", 7, '"e"', "L"), ObjectInfo("plain", 0))
    assert page.prefixes == ("p%/",)
    assert page.token == "t/1"


def test_keys_are_taken_as_they_are_without_an_encoding() -> None:
    page = parse_page(b"<ListBucketResult><Contents><Key>a%20b+c</Key><Size>1</Size></Contents></ListBucketResult>")
    assert page.objects[0].key == "a%20b+c"
    assert page.token == ""


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html/>",
        b"<ListBucketResult>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><ListBucketResult/>',
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        b"<ListBucketResult><Contents><Key>k</Key><Size>many</Size></Contents></ListBucketResult>",
    ],
)
def test_what_is_no_page(document: bytes) -> None:
    with pytest.raises(GatewayError):
        parse_page(document)


def test_buckets_are_parsed() -> None:
    names = b"<Bucket><Name>a</Name></Bucket><Bucket><Name>b</Name></Bucket>"
    document = b"<ListAllMyBucketsResult><Buckets>%b</Buckets></ListAllMyBucketsResult>"
    assert parse_buckets(document % names) == ("a", "b")


def test_a_page_is_asked_for() -> None:
    assert list_request("b", "").query == (("list-type", "2"), ("encoding-type", "url"), ("max-keys", "1000"))
    query = dict(list_request("b", "p", delimiter="/", token="t", keys_max=1).query)
    assert query["prefix"] == "p"
    assert query["delimiter"] == "/"
    assert query["continuation-token"] == "t"
    assert query["max-keys"] == "1"
