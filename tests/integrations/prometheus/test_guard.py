"""Who may ask the endpoint: credentials, where these are asked for."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from metrics_sdk_prometheus import PrometheusEndpoint

from metrics_sdk.errors import ConfigurationError


@pytest.fixture
def endpoint(source: Any) -> Iterator[PrometheusEndpoint]:
    """An endpoint that asks for credentials, in the place of the one that `ask` asks elsewhere."""
    with PrometheusEndpoint(source, port=0, basic_auth=("scraper", "pass:wörd"), bearer_token="t0ken") as made:
        yield made


def basic(text: str) -> str:
    return "Authorization: Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("header", [basic("scraper:pass:wörd"), "authorization: bearer t0ken", "Authorization: BEARER  t0ken"])
def test_either_of_the_credentials_lets_a_request_through(ask: Any, header: str) -> None:
    assert "HTTP/1.1 200 OK" == ask("GET /metrics HTTP/1.1", header)[0]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["Authorization: "],
        ["Authorization: Basic"],
        ["Authorization: Bearer t0ke"],
        ["Authorization: Bearer t0ken2"],
        ["Authorization: Basic t0ken"],
        ["Authorization: Bearer \xff"],
        [basic("scraper:pass")],
        [basic("")],
        ["Authorization: Bearer " + base64.b64encode("scraper:pass:wörd".encode()).decode()],
        ["Authorization: Bearer t0ken", "Authorization: Bearer t0ken"],
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/other"])
def test_any_other_request_is_told_which_are_wanted_and_nothing_else(ask: Any, headers: list[str], path: str) -> None:
    status, told, body = ask(f"GET {path} HTTP/1.1", *headers)
    assert ("HTTP/1.1 401 Unauthorized", b"Credentials are needed.\n") == (status, body)
    assert ['Basic realm="metrics", charset="UTF-8"', 'Bearer realm="metrics"'] == [
        one.partition(": ")[2] for one in told.split("\r\n") if one.startswith("WWW-Authenticate")
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"basic_auth": "user:password"},
        {"basic_auth": ("a:b", "c")},
        {"basic_auth": ("", "c")},
        {"basic_auth": ("a", "b\r\nc")},
        {"basic_auth": ("a", 1)},
        {"bearer_token": ""},
        {"bearer_token": "a b"},
        {"bearer_token": "a\n"},
        {"bearer_token": "ä"},
        {"bearer_token": 5},
    ],
)
def test_what_no_header_can_carry_is_refused_and_no_secret_is_shown(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        PrometheusEndpoint(**given)
    assert "password" not in str(raised.value).replace("a password", "")
    shown = repr(PrometheusEndpoint(basic_auth=("a", "s3cret"), bearer_token="s3cret"))
    assert "s3cret" not in shown
