"""The setting for links to traces: an address with a place for the id, and nothing else."""

from __future__ import annotations

import pytest

from crl_stream.errors import ConfigError
from crl_stream.settings import load_settings


@pytest.mark.parametrize(
    "value",
    [
        "https://traces.example.com/t/{trace_id}",
        "http://127.0.0.1:16686/trace/{trace_id}?x=1",
        "https://langfuse.example.com/project/p/traces/{trace_id}#{trace_id}",
        "",
    ],
)
def test_an_address_with_a_place_for_the_id_is_accepted(value: str) -> None:
    found = load_settings(environment={}, flags={"web.trace_url_template": value})
    assert found.web.trace_url_template == value


@pytest.mark.parametrize(
    "value",
    [
        "https://traces.example.com/t/",
        "ftp://traces.example.com/{trace_id}",
        "javascript:alert({trace_id})",
        "https:///{trace_id}",
        "https://traces.example.com/{trace_id}/{span_id}",
        "https://traces.example.com/ {trace_id}",
        "https://traces.example.com/\x1b{trace_id}",
        "https://[::1/{trace_id}",
    ],
)
def test_anything_else_is_refused_in_one_line(value: str) -> None:
    with pytest.raises(ConfigError, match=r"an address like https://host/t/\{trace_id\}"):
        load_settings(environment={}, flags={"web.trace_url_template": value})
