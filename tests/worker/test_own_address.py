"""The address at which other workers reach a worker."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from crl_stream.settings import load_settings
from crl_stream.worker.own_address import with_own_address


@pytest.mark.parametrize(
    ("host", "given", "known_as"),
    [
        ("127.0.0.1", "", ""),
        ("10.1.2.3", "", ""),
        ("0.0.0.0", "", f"http://{socket.gethostname()}:7000"),  # noqa: S104 - nothing is bound
        ("::", "", f"http://{socket.gethostname()}:7000"),
        ("0.0.0.0", "https://worker-7.example", "https://worker-7.example"),  # noqa: S104
    ],
)
def test_a_worker_that_listens_on_every_address_is_known_by_the_name_of_its_host(
    host: str, given: str, known_as: str
) -> None:
    settings = load_settings(environment={})
    chosen = {"web_host": host, "web_port": 7000, "advertised_url": given}
    found = with_own_address(replace(settings, worker=settings.worker.model_copy(update=chosen)))
    # An empty URL stands for the address where the worker listens.
    assert found.worker.advertised_url == known_as
