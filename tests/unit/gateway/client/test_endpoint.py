"""Where settings come from, and what is no endpoint."""

from __future__ import annotations

import pytest

from gateway.client.endpoint import DEFAULT_ENDPOINT, Gateway, Place, find_gateway, find_place, split_location

ENVIRON = {
    "AWS_ENDPOINT_URL": "http://other:1",
    "AWS_ENDPOINT_URL_S3": "http://node:9000",
    "AWS_ACCESS_KEY_ID": "AK",
    "AWS_SECRET_ACCESS_KEY": "SK",
    "AWS_SESSION_TOKEN": "T",
    "AWS_REGION": "eu-west-1",
    "RANK": "3",
    "FOREBAY_JOB": "train",
}


def test_the_environment_fills_in_what_is_not_given() -> None:
    found = find_gateway(ENVIRON, gpus=8, job=None)
    assert found == Gateway("http://node:9000", "AK", "SK", "T", "eu-west-1", job="train", rank="3", gpus=8)
    assert find_gateway({}) == Gateway(DEFAULT_ENDPOINT)


def test_credentials_come_from_one_place() -> None:
    found = find_gateway(ENVIRON, access_key="MINE", secret_key="S")
    assert (found.access_key, found.secret_key, found.session_token) == ("MINE", "S", "")


def test_secrets_are_not_shown() -> None:
    shown = repr(find_gateway(ENVIRON, secret_key="hidden", session_token="hidden"))
    assert "hidden" not in shown


@pytest.mark.parametrize(
    ("endpoint", "address", "authority", "tls"),
    [
        ("http://node", ("node", 80), "node", False),
        ("https://node/", ("node", 443), "node", True),
        ("http://[::1]:9000", ("::1", 9000), "[::1]:9000", False),
    ],
)
def test_an_endpoint_says_where_to_connect(endpoint: str, address: tuple[str, int], authority: str, tls: bool) -> None:
    gateway = Gateway(endpoint)
    assert (gateway.address, gateway.authority, gateway.tls) == (address, authority, tls)


@pytest.mark.parametrize(
    "bad",
    [
        {"endpoint": "node:9000"},
        {"endpoint": "http://node/path"},
        {"endpoint": "http://node?x=1"},
        {"connections": 0},
        {"attempts": 0},
        {"job": "a\r\nb"},
        {"rank": "ü"},
    ],
)
def test_bad_settings_are_refused(bad: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"endpoint|at least|ASCII"):
        find_gateway({}, **bad)


@pytest.mark.parametrize(
    ("location", "bucket", "key"),
    [
        ("s3://b/p/q", "b", "p/q"),
        ("forebay://b", "b", ""),
        ("b/p", "b", "p"),
        ("s3://b//odd%20/", "b", "/odd%20/"),
    ],
)
def test_a_location_names_bucket_and_key(location: str, bucket: str, key: str) -> None:
    assert split_location(location) == (bucket, key)


@pytest.mark.parametrize("location", ["http://b/k", "s3:///k", ""])
def test_no_location(location: str) -> None:
    with pytest.raises(ValueError, match=r"expected|no bucket"):
        split_location(location)


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({}, Place(0, 1)),
        ({"RANK": "2", "WORLD_SIZE": "4"}, Place(2, 4)),
        ({"RANK": "2", "WORLD": "4"}, Place(2, 4)),
        ({"RANK": "4", "WORLD_SIZE": "4"}, Place(0, 1)),
        ({"RANK": "x", "WORLD_SIZE": "4"}, Place(0, 1)),
    ],
)
def test_the_place_in_the_job(environ: dict[str, str], place: Place) -> None:
    assert find_place(environ) == place
