"""Checks whether ports of this machine are free, and finds free ones, by address (IPv4 or IPv6) or host name."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Any, Final

from crl_stream.broker.configuration import HOST

_TRIES: Final = 20
"""Number of attempts to find a port that is free on every address of a host."""


def listens(port: int) -> bool:
    """Return whether a program accepts connections on this port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is a loopback address, which only this machine can reach."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bindable(port: int, host: str = HOST) -> bool:
    """Return whether the port is free now on every address of ``host``."""
    return why_not_bindable(port, host) is None


def why_not_bindable(port: int, host: str = HOST) -> str | None:
    """Return, as a phrase, why no program can listen on the port now; None if one can."""
    try:
        for family, address in _addresses(host, port):
            _bind(family, address)
    except socket.gaierror:
        return f"{host} has no known address"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "the port is taken"
        if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            return f"{host} is not an address of this machine"
        if error.errno in {errno.EACCES, errno.EPERM}:
            return "this user is not allowed to use the port"
        return (error.strerror or str(error)).lower()
    return None


def free_port(host: str = HOST) -> int:
    """Return a port that is free now on every address of ``host``; raises ``OSError`` if there is none."""
    first, *others = _addresses(host, 0)
    last: OSError | None = None
    for _ in range(_TRIES):
        port = _bind(*first)
        try:
            for family, address in others:
                _bind(family, (address[0], port, *address[2:]))
        except OSError as error:
            last = error
        else:
            return port
    assert last is not None
    raise last


def _addresses(host: str, port: int) -> list[tuple[int, tuple[str | int, ...]]]:
    """Return the family and socket address for each address of ``host`` that a server could listen on."""
    found: Any = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))


def _bind(family: int, address: tuple[str | int, ...]) -> int:
    """Bind an address, release it, and return its port."""
    with socket.socket(family) as probe:
        if address[1]:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Servers set this option too; without it, :: would also include every IPv4 address.
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)
        return int(probe.getsockname()[1])
