"""Who may look at the dashboard and who may act; every refusal is one sentence that repeats nothing of the request.

Somebody is known in one of three ways:

* by a session, which begins with a one-time token or with ``worker.web_token``; its cookie is sent only by pages of
  this dashboard (``SameSite=Strict``) and cannot be read by scripts (``HttpOnly``);
* by ``Authorization: Bearer``, for scripts;
* by the header ``web.actor_header`` of an authenticating proxy at one of ``web.trusted_addresses``.

A foreign web page can make a browser send requests here, even under the page's own host name if its DNS answers with a
loopback address.  So the name of the host must be known, and a command must come from a page of this origin and carry a
secret that only such a page has.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from aiohttp import web
from yarl import URL

from crl_stream.broker.ports import is_loopback
from crl_stream.dashboard.web.doors import Doors, is_actor
from crl_stream.dashboard.web.hub import now_ms
from crl_stream.errors import ConfigError

PROOF: Final = "X-CRL-Token"
"""The header with the secret of the page; its mere presence makes a browser ask before it crosses origins."""
SENT_BY_BROWSERS: Final = frozenset(("accept", "authorization", "cookie", "host", "origin", "referer", "user-agent"))
"""Headers that cannot name a person, because every browser sends them by itself."""
LOCAL: Final = frozenset(("localhost", "127.0.0.1", "::1"))
BY_TOKEN: Final = "token"  # noqa: S105 - a name, no password
"""The name of somebody who is known only by the token that everybody shares."""

FOREIGN: Final = frozenset(("cross-site", "same-site"))
"""What browsers say in ``Sec-Fetch-Site`` about a request that a page of another origin makes them send."""

Address = ipaddress.IPv4Network | ipaddress.IPv6Network


class Refusal(Exception):
    """A request is refused."""

    def __init__(self, status: int, error: str, hint: str = "", **headers: str) -> None:
        super().__init__(error)
        self.status, self.error, self.hint, self.headers = status, error, hint, headers


class Caller(NamedTuple):
    """Somebody who is known."""

    actor: str
    csrf: str
    way: Literal["session", "bearer", "proxy"]
    until: int
    """When the session ends, in milliseconds; the other ways have no end."""

    @property
    def signed(self) -> str:
        """The actor, as commands name it."""
        return f"web:{self.actor}"


class Rules(NamedTuple):
    """What decides about access, from the settings."""

    host: str
    """The address on which the dashboard listens."""
    names: frozenset[str]
    """The host names under which it may be called."""
    token: str
    actor_header: str
    trusted: tuple[Address, ...]

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the dashboard."""
        return is_loopback(self.host)


def words(text: str) -> list[str]:
    """Return the parts of a list that is separated by commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def networks(text: str) -> tuple[Address, ...]:
    """Parse addresses and networks separated by commas; raises ``ConfigError`` for anything else."""
    found: list[Address] = []
    for word in words(text):
        try:
            network = ipaddress.ip_network(word)
        except ValueError:
            raise ConfigError(
                f"web.trusted_addresses: {word!r} is not an address or a network.",
                hint="write addresses of proxies, separated by commas, like 10.0.0.5 or 10.1.0.0/24",
            ) from None
        if not network.prefixlen:
            raise ConfigError(
                f"web.trusted_addresses: {word} would let everybody say who they are.",
                hint="name only the addresses of your proxies, like 10.0.0.5 or 10.1.0.0/24",
            )
        found.append(network)
    return tuple(found)


def make_rules(settings: Any, host: str, known_as: Iterable[str]) -> Rules:
    """Return the rules for a dashboard on ``host``; raises ``ConfigError`` if it would be open to strangers."""
    web_settings, token = settings.web, settings.worker.web_token.get_secret_value()
    trusted = networks(web_settings.trusted_addresses)
    if bool(web_settings.actor_header) != bool(trusted):
        raise ConfigError(
            "web.actor_header and web.trusted_addresses are only useful together.",
            hint="name the header in which the proxy says who somebody is, and the addresses of the proxy",
        )
    if web_settings.actor_header.lower() in SENT_BY_BROWSERS:
        raise ConfigError(
            f"web.actor_header: browsers send {web_settings.actor_header} by themselves, so it cannot name a person.",
            hint="name a header that only the proxy sends, like X-Forwarded-User",
        )
    allowed = words(web_settings.allowed_hosts)
    for name in allowed:
        if _host_of(name) != name.lower().strip("[]"):
            raise ConfigError(
                f"web.allowed_hosts: {name!r} is not the name of a host.",
                hint="write names without http:// and without a port, separated by commas, like dashboard.example.com",
            )
    if not is_loopback(host) and not token and not web_settings.actor_header:
        raise ConfigError(
            f"The dashboard would be open to the network at {host}.",
            hint="set CRL_WORKER_WEB_TOKEN, or web.actor_header and web.trusted_addresses for an authenticating proxy, "
            "or listen on 127.0.0.1",
        )
    public = urlsplit(web_settings.url).hostname
    names = {name.lower().strip("[]") for name in (*allowed, *known_as, host, *([public] if public else []))}
    return Rules(
        host=host,
        names=frozenset(names | (LOCAL if is_loopback(host) else set())),
        token=token,
        actor_header=web_settings.actor_header,
        trusted=trusted,
    )


class Access:
    """Applies the rules to requests."""

    def __init__(self, rules: Rules, doors: Doors) -> None:
        self.rules, self.doors = rules, doors
        self._secret = secrets.token_bytes(32)

    def check_host(self, request: web.Request) -> None:
        """Refuse a request that calls the dashboard by a name that is not its own."""
        given = request.headers.getall("Host", [])
        host = _host_of(given[0]) if len(given) == 1 else None
        if host is None or not (host in self.rules.names or (not self.rules.is_local and _is_address(host))):
            raise Refusal(
                403,
                "This dashboard does not accept that host name.",
                "open it under the address that it printed, or add the name to web.allowed_hosts",
            )

    def caller(self, request: web.Request) -> Caller:
        """Return who sends a request; refuse it if the sender is not known."""
        given = request.headers.get("Authorization")
        if given is not None:
            if not self.is_token(given.removeprefix("Bearer ")):
                raise Refusal(401, "The token is missing or wrong.", "send Authorization: Bearer <worker.web_token>")
            return Caller(BY_TOKEN, "", "bearer", 0)
        if self.rules.actor_header and (names := request.headers.getall(self.rules.actor_header, [])):
            return self._of_proxy(request, names)
        found = self.doors.session(request.cookies.get(self.doors.cookie, ""), now_ms())
        if found is None:
            raise Refusal(
                401,
                "You are not signed in.",
                "crl dashboard --link prints an address that opens it once; or sign in with worker.web_token",
            )
        return Caller(found.actor, found.csrf, "session", found.until)

    def has_session(self, request: web.Request) -> bool:
        """Return whether a request carries the cookie of a session that has not ended."""
        return self.doors.session(request.cookies.get(self.doors.cookie, ""), now_ms()) is not None

    def _of_proxy(self, request: web.Request, names: list[str]) -> Caller:
        try:
            peer = ipaddress.ip_address(request.remote or "")
        except ValueError:
            peer = None
        if peer is None or not any(peer in network for network in self.rules.trusted):
            raise Refusal(
                403,
                "The name comes from an address that is not a trusted proxy.",
                "web.trusted_addresses lists the addresses of the proxies",
            )
        # A proxy that adds its header beside the one of the request leaves the first name to the sender.
        name = names[0] if len(names) == 1 else ""
        if not is_actor(name):
            raise Refusal(403, "The name that the proxy gave cannot be used.", "letters, digits and . _ : @ + - only")
        csrf = hmac.new(self._secret, name.encode(), hashlib.sha256).hexdigest()
        return Caller(name, csrf, "proxy", 0)

    def is_token(self, given: str) -> bool:
        """Return whether a text is ``worker.web_token``; an empty token is never one."""
        token = self.rules.token
        return bool(token) and hmac.compare_digest(given.encode(errors="replace"), token.encode())

    def check_origin(self, request: web.Request) -> None:
        """Refuse a request that a page of another origin makes a browser send."""
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "same-origin")
        host = request.headers.get("Host", "").lower()
        if origin is None or origin.lower() not in {f"http://{host}", f"https://{host}"} or site != "same-origin":
            raise Refusal(403, "Commands are accepted only from this dashboard's own pages.", "reload the page")

    def check_opening(self, request: web.Request) -> None:
        """Refuse to be opened inside a foreign page, as a frame, picture or script; a link on it may be followed."""
        headers = request.headers
        opens = (headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")) == ("navigate", "document")
        if headers.get("Sec-Fetch-Site") in FOREIGN and not opens:
            raise Refusal(403, "This address cannot be part of another page.", "open it in a tab of its own")

    def check_order(self, request: web.Request, caller: Caller) -> None:
        """Refuse a command that does not come from a page of this dashboard, or from a script with the token."""
        if request.content_type != "application/json":
            raise Refusal(415, "A command must be JSON.", "send Content-Type: application/json")
        if caller.way == "bearer":
            return  # a browser asks before it sends this header for a foreign page, and is then refused
        self.check_origin(request)
        given = request.headers.get(PROOF, "")
        if not caller.csrf or not hmac.compare_digest(given.encode(errors="replace"), caller.csrf.encode()):
            raise Refusal(403, "The command lacks the secret of its page.", "reload the page, then repeat it")


def _host_of(text: str) -> str | None:
    """Return the name in a Host header, without its port; None if it is malformed."""
    if not text or any(character in text for character in "/@?#\\* "):
        return None
    try:
        return (URL(f"http://{text}").host or "").lower() or None
    except ValueError:
        return None


def _is_address(host: str) -> bool:
    """Return whether a host is an address: no DNS answer can make a browser believe that it is another one."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
