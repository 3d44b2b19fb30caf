"""Routes to the campaign's broker: its own address, one proxied route per worker, and one that authenticates clients.

The broker tells a client the address of the listener that it connected to, so that the client stays on its route.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

from campaign.live.proxy import Proxy
from crl_stream.broker.configuration import HOST
from crl_stream.broker.ports import bindable, listens

USER: Final = "campaign"
PASSWORD: Final = "loopback only"  # noqa: S105 - opens a broker of this machine that lives as long as the campaign
GUARDED: Final = "GUARDED"


def stable_ports(count: int) -> list[int]:
    """Return free ports below the ephemeral range, so that no outgoing connection can take them."""
    found: set[int] = set()
    chance = random.SystemRandom()
    while len(found) < count:
        port = chance.randrange(15_000, 32_000)
        if port not in found and not listens(port) and bindable(port):
            found.add(port)
    return sorted(found)


def listener_properties(port: int, controller: int, guarded: int, routes: Sequence[Proxy]) -> dict[str, Any]:
    """Return Kafka's properties for all routes.

    A client on the ``guarded`` route authenticates as ``USER``, who may do everything that no ACL denies.
    All other users are superusers.
    """
    ways = [("PLAINTEXT", port, port), (GUARDED, guarded, guarded)]
    ways += [(f"ROUTE{number}", proxy.upstream, proxy.port) for number, proxy in enumerate(routes)]
    protocols = {name: "SASL_PLAINTEXT" if name == GUARDED else "PLAINTEXT" for name, *_ in ways}
    login = "org.apache.kafka.common.security.plain.PlainLoginModule"
    return {
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": ",".join(f"{name}://{HOST}:{own}" for name, own, _ in [*ways, ("CONTROLLER", controller, 0)]),
        "advertised.listeners": ",".join(f"{name}://{HOST}:{told}" for name, _, told in ways),
        "listener.security.protocol.map": ",".join(
            f"{n}:{p}" for n, p in {**protocols, "CONTROLLER": "PLAINTEXT"}.items()
        ),
        "sasl.enabled.mechanisms": "PLAIN",
        f"listener.name.{GUARDED.lower()}.plain.sasl.jaas.config": f'{login} required user_{USER}="{PASSWORD}";',
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "allow.everyone.if.no.acl.found": "true",
    }
