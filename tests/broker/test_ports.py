"""Ports are found and checked on any given address: IPv4, IPv6, or a name."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from crl_stream.broker.ports import bindable, free_port, is_loopback, why_not_bindable
from crl_stream.settings import load_settings
from crl_stream.worker_views import views_url


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


ANYWHERE = "0.0.0.0"  # noqa: S104 - what it is about
HOSTS = ["127.0.0.1", "localhost", ANYWHERE, *(["::1", "::"] if _has_ipv6() else [])]


@contextmanager
def listening(host: str, port: int) -> Iterator[None]:
    with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
        yield


@pytest.mark.parametrize("host", HOSTS)
def test_a_free_port_can_be_listened_on_and_then_is_taken(host: str) -> None:
    port = free_port(host)
    assert bindable(port, host)
    with listening(host, port):
        assert why_not_bindable(port, host) == "the port is taken"


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
def test_a_name_with_two_addresses_is_free_when_both_are(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]

    def resolve(_host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(*entry[:4], (entry[4][0], port, *entry[4][2:])) for entry in found]  # type: ignore[index]

    port = free_port()
    with listening("127.0.0.1", port):
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        assert why_not_bindable(port, "localhost") == "the port is taken"
        assert free_port("localhost") != port


def test_what_is_not_of_this_machine_is_not_called_taken() -> None:
    assert why_not_bindable(0, "192.0.2.1") == "192.0.2.1 is not an address of this machine"
    assert why_not_bindable(0, "no-such-host.invalid") == "no-such-host.invalid has no known address"


def test_loopback_is_every_address_that_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "localhost", "LOCALHOST", "::1")))
    assert not any(map(is_loopback, (ANYWHERE, "::", "10.0.0.1", "example.com", "localhost.example.com", "")))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("::1", "http://[::1]:7"),
        ("[::1]", "http://[::1]:7"),
        ("127.0.0.1", "http://127.0.0.1:7"),
        ("::", "http://[::]:7"),
    ],
)
def test_the_url_of_the_views_has_brackets_around_an_ipv6_address(host: str, url: str) -> None:
    flags = {"worker.web_host": host, "worker.web_port": "7"}
    assert views_url(load_settings(environment={}, flags=flags)) == url
