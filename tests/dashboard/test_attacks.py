"""A table of attacks on the dashboard: each is refused or inert, and none is repeated in the answer."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest
from multidict import CIMultiDict

from crl_stream.core import messages as m
from crl_stream.dashboard.web import bodies
from crl_stream.dashboard.web.access import PROOF
from crl_stream.dashboard.web.doors import Doors
from crl_stream.dashboard.web.orders import MOST_REASON
from crl_stream.dashboard.web.server import make_dashboard
from crl_stream.errors import ConfigError
from dashboard.browsing import Browser
from dashboard.served import ACTOR, Served, serving, some_settings

MARK = "<script>alert(1)</script>"
"""What an attack would like to see in an answer."""
ORDERS = "/dashboard/commands"


@pytest.fixture(params=[False, True], ids=["alone", "through the worker"])
async def served(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    """A dashboard that is asked directly, as that of ``crl dashboard --web``, or through the relay of a worker."""
    async with serving(tmp_path, relayed=request.param) as found:
        yield found


@pytest.fixture
async def browser(served: Served) -> AsyncIterator[Browser]:
    async with Browser(served.url) as found:
        await found.enter(served.link())
        yield found


class Sent(NamedTuple):
    """A request that is right in every respect but one."""

    headers: dict[str, str]
    body: Any
    method: str = "POST"
    path: str = ORDERS


def an_order(browser: Browser) -> Sent:
    """Return an order that passes every check; it is about a task that nobody knows, so nothing is sent to Kafka."""
    headers = {
        "Cookie": browser.session_cookie,
        "Origin": browser.url,
        "Content-Type": "application/json",
        "Sec-Fetch-Site": "same-origin",
        PROOF: browser.csrf,
    }
    body = {"command": "HoldTask", "agent_name": "nobody", "task_type": "knows", "reason": "because"}
    return Sent(headers, body)


async def send(url: str, sent: Sent) -> tuple[int, str, Any]:
    body = sent.body if isinstance(sent.body, bytes | str) or sent.body is None else json.dumps(sent.body)
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            sent.method, url + sent.path, headers=sent.headers, data=body, allow_redirects=False
        ) as response,
    ):
        return response.status, await response.text(), response.headers


def but(**headers: str | None) -> Callable[[Sent], Sent]:
    """Return the change that replaces headers; None removes one."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}

    def change(sent: Sent) -> Sent:
        kept = {n: v for n, v in sent.headers.items() if n.lower() not in {name.lower() for name in names}}
        return sent._replace(headers=kept | {name: value for name, value in names.items() if value is not None})

    return change


def with_body(**fields: Any) -> Callable[[Sent], Sent]:
    return lambda sent: sent._replace(body={n: v for n, v in (sent.body | fields).items() if v is not None})


def with_session(secret: str) -> Callable[[Sent], Sent]:
    """Return the change that replaces the secret of the session."""

    def change(sent: Sent) -> Sent:
        name = sent.headers["Cookie"].partition("=")[0]
        return sent._replace(headers=sent.headers | {"Cookie": f"{name}={secret}"})

    return change


ATTACKS: dict[str, tuple[Callable[[Sent], Sent], int]] = {
    "no session": (but(Cookie=None), 401),
    "a wrong session": (with_session("guess"), 401),
    "a session that is a path": (with_session("../../etc/passwd"), 401),
    "a wrong bearer token": (but(Authorization=f"Bearer {MARK}"), 401),
    "an empty bearer token, while none is set": (but(Authorization="Bearer "), 401),
    "no secret of the page": (but(**{PROOF: None}), 403),
    "a wrong secret of the page": (but(**{PROOF: MARK}), 403),
    "no origin": (but(Origin=None), 403),
    "another origin": (but(Origin="http://evil.example"), 403),
    "an origin that only begins like this one": (but(Origin="http://127.0.0.1.evil.example"), 403),
    "the origin null of a sandboxed frame": (but(Origin="null"), 403),
    "another port of this machine": (but(Origin="http://127.0.0.1:1"), 403),
    "a request across sites": (but(Sec_Fetch_Site="cross-site"), 403),
    "a request of a sibling site": (but(Sec_Fetch_Site="same-site"), 403),
    "a form": (but(Content_Type="application/x-www-form-urlencoded"), 415),
    "a form that smuggles JSON": (but(Content_Type="text/plain"), 415),
    "no content type": (but(Content_Type="application/octet-stream"), 415),
    "a host whose DNS answers with a loopback address": (but(Host="evil.example"), 403),
    "a host with a user": (but(Host="127.0.0.1@evil.example"), 403),
    "a host with a path": (but(Host="127.0.0.1/evil.example"), 403),
    "an order by GET": (lambda sent: sent._replace(method="GET", body=None), 405),
    "an order by PUT": (lambda sent: sent._replace(method="PUT"), 405),
    "an order by DELETE": (lambda sent: sent._replace(method="DELETE"), 405),
    "a stream by HEAD": (lambda sent: sent._replace(method="HEAD", path="/dashboard/stream", body=None), 405),
    "an order by PATCH": (lambda sent: sent._replace(method="PATCH"), 405),
    "an order to a page": (lambda sent: sent._replace(path="/dashboard/"), 405),
    "an order to the views of the worker": (lambda sent: sent._replace(path="/api/tasks"), 405),
    "a body that is too large": (lambda sent: sent._replace(body=b"{" + b" " * 70_000), 413),
    "a body that is no JSON": (lambda sent: sent._replace(body=MARK), 400),
    "a body that is a list": (lambda sent: sent._replace(body=[MARK]), 400),
    "a body with a name twice": (lambda sent: sent._replace(body=b'{"command":"HoldTask","command":"HoldAll"}'), 400),
    "a body nested deeply": (lambda sent: sent._replace(body=b'{"command":' + b"[" * 15_000), 400),
    "no such command": (with_body(command=MARK), 400),
    "a command that pages may not send": (with_body(command="SetPolicy"), 400),
    "a command that is no text": (with_body(command=["HoldTask"]), 400),
    "an actor of one's own": (with_body(actor="somebody-else"), 400),
    "a command id of one's own": (with_body(command_id="cmd-1"), 400),
    "a field of another command": (with_body(variant_id="v1"), 400),
    "a rejection without a reason": (with_body(command="RejectProposal", proposal_id="p", reason=" "), 400),
    "a reason that is no text": (with_body(reason=1), 400),
    "a reason that is too long": (with_body(reason="x" * 3_000), 400),
    "no task": (with_body(agent_name=None), 400),
    "a task that is a path": (with_body(agent_name="../x"), 400),
    "a task that is a script": (with_body(agent_name=MARK), 400),
    "a task that is a number": (with_body(agent_name=7), 400),
}


async def test_an_order_that_is_right_in_every_respect_is_not_stopped(served: Served, browser: Browser) -> None:
    status, text, _ = await send(served.url, an_order(browser))
    assert (status, json.loads(text)["error"]) == (404, "The task is not known.")


async def test_a_reason_that_is_too_long_is_told_how_long_it_is_and_may_be(served: Served, browser: Browser) -> None:
    status, text, _ = await send(served.url, with_body(reason=MARK * 100)(an_order(browser)))
    error = "The reason has 2,500 characters, and at most 2,000 are allowed."
    assert (status, json.loads(text)) == (400, {"error": error, "hint": "shorten it"})
    longest = "\N{PILE OF POO}" * MOST_REASON
    order = an_order(browser)
    whole = order._replace(body=json.dumps(order.body | {"reason": longest}, ensure_ascii=False).encode())
    assert (await send(served.url, whole))[0] == 404, "it is not the reason"
    held = m.HoldAll(
        **dict.fromkeys(("command_id", "timestamp", "expires_at", "actor"), "x"), schema_version=1, reason=longest
    )
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(msgspec.to_builtins(held) | {"reason": longest + "x"}, m.HoldAll)


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_order_with_one_thing_wrong_is_refused_and_not_repeated(
    name: str, served: Served, browser: Browser
) -> None:
    change, expected = ATTACKS[name]
    status, text, headers = await send(served.url, change(an_order(browser)))
    assert status == expected, text
    assert MARK not in text
    assert "evil" not in text
    assert "Traceback" not in text
    if change(an_order(browser)).path.startswith("/dashboard"):
        assert_protected(headers)


def assert_protected(headers: Any) -> None:
    """Fail unless a response has every header that protects a browser."""
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in headers
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


SURFACES = {
    "a page": "/dashboard/review",
    "a document": "/dashboard/fleet.json",
    "the stream": "/dashboard/stream",
    "an explanation": "/dashboard/explain/rb-1",
}
STRANGERS: dict[str, tuple[Callable[[Sent], Sent], int]] = {
    "no session": (but(Cookie=None), 401),
    "a wrong session": (with_session("guess"), 401),
    "a wrong token": (but(Authorization=f"Bearer {MARK}"), 401),
    "a host whose DNS answers with a loopback address": (but(Host="evil.example"), 403),
    "another method": (lambda sent: sent._replace(method="POST"), 405),
}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", STRANGERS)
async def test_no_stranger_reads_any_surface(name: str, surface: str, served: Served, browser: Browser) -> None:
    change, expected = STRANGERS[name]
    request = an_order(browser)._replace(method="GET", path=SURFACES[surface], body=None)
    status, text, headers = await send(served.url, change(request))
    assert status == expected
    assert MARK not in text and "evil" not in text and "agent" not in text
    assert_protected(headers)


@pytest.mark.parametrize("surface", ["a page", "a document"])
async def test_a_foreign_page_may_send_a_request_but_not_read_the_answer(
    surface: str, served: Served, browser: Browser
) -> None:
    foreign = but(Origin="http://evil.example", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors")(an_order(browser))
    _, _, headers = await send(served.url, foreign._replace(method="GET", path=SURFACES[surface], body=None))
    assert_protected(headers)
    asks = but(Origin="http://evil.example", Access_Control_Request_Method="POST")(an_order(browser))
    status, _, headers = await send(served.url, asks._replace(method="OPTIONS", path=SURFACES[surface], body=None))
    assert status == 405
    assert not [name for name in headers if name.lower().startswith("access-control")]


PATHS = (
    "/dashboard/",
    "/dashboard/review",
    "/dashboard/tasks/nobody/knows",
    f"/dashboard/tasks/{MARK}/x",
    f"/dashboard/rollbacks/{MARK}",
    f"/dashboard/{MARK}",
    "/dashboard/static/style.css",
    "/dashboard/static/../../../pyproject.toml",
    "/dashboard/static/..%2f..%2fpages%2frows.py",
    "/dashboard/static/%2e%2e/%2e%2e/__init__.py",
    "/dashboard/static//etc/passwd",
    "/dashboard/static/vendor",
    "/dashboard/enter",
    f"/dashboard/enter?token={MARK}",
    f"/dashboard/stream?task={MARK}",
    f"/dashboard/explain/{MARK}",
    f"/dashboard/tasks/{MARK}/x/why-not",
    "/dashboard/commands",
)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize("signed_in", [True, False])
async def test_no_address_repeats_what_it_is_given_and_every_answer_is_protected(
    path: str, accept: str, signed_in: bool, served: Served, browser: Browser
) -> None:
    cookie = browser.session_cookie if signed_in else ""
    status, text, headers = await raw(served.url, path, f"Accept: {accept}", f"Cookie: {cookie}")
    assert status in {200, 303, 400, 401, 404, 405}
    assert MARK not in text
    assert "alert(1)" not in text
    assert "root:x:" not in text
    assert "[project]" not in text
    assert "import annotations" not in text
    assert_protected(headers)
    if not signed_in and status == 200:
        assert path == "/dashboard/static/style.css"


async def raw(url: str, path: str, *headers: str) -> tuple[int, str, dict[str, str]]:
    """Send a request whose path no client tidies up."""
    host = url.removeprefix("http://")
    name, port = host.split(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    first, *rest = head.decode().split("\r\n")
    found = dict(line.split(": ", 1) for line in rest)
    return int(first.split(" ")[1]), body.decode("utf-8", "replace"), found


async def test_a_request_without_a_host_or_with_two_is_refused(served: Served) -> None:
    host = served.url.removeprefix("http://")
    name, port = host.split(":")
    for lines in (["GET /dashboard/ HTTP/1.0"], ["GET /dashboard/ HTTP/1.1", f"Host: {host}", "Host: evil.example"]):
        reader, writer = await asyncio.open_connection(name, int(port))
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        first = (await reader.read()).split(b"\r\n")[0]
        writer.close()
        assert first.split(b" ")[1] in {b"400", b"403"}, first


async def test_a_body_that_comes_slowly_is_given_up(
    served: Served, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.2)
    sent = an_order(browser)

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)
        yield b"}"

    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as session,
        session.post(served.url + ORDERS, headers=sent.headers, data=slowly()) as response,
    ):
        assert response.status == 408


async def test_a_body_that_hides_its_size_is_given_up(served: Served, browser: Browser) -> None:
    sent = an_order(browser)

    async def much() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 1_024

    async with (
        aiohttp.ClientSession() as session,
        session.post(served.url + ORDERS, headers=sent.headers, data=much()) as response,
    ):
        assert response.status == 413


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ("Content-Length: 40\r\nContent-Encoding: gzip", b"x" * 40),
        ("Transfer-Encoding: chunked", b"zz\r\nabc\r\n0\r\n\r\n"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(headers: str, body: bytes, served: Served) -> None:
    name, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    kind = "Content-Type: application/x-www-form-urlencoded"
    start = f"POST /dashboard/enter HTTP/1.1\r\nHost: {name}\r\nOrigin: http://{name}\r\n{kind}\r\n{headers}\r\n\r\n"
    writer.write(start.encode() + body)
    answer = await reader.readline()
    writer.close()
    assert answer.split(b" ")[1] == b"400"


async def test_orders_and_guesses_are_limited_in_number(served: Served, browser: Browser) -> None:
    found = [(await send(served.url, an_order(browser)))[0] for _ in range(25)]
    assert set(found[:20]) == {404}
    assert found[-1] == 429
    guess = but(Cookie=None, Authorization="Bearer guess")(an_order(browser))
    found = [(await send(served.url, guess))[0] for _ in range(15)]
    assert found[:9] == [401] * 9
    assert found[-1] == 429


NAVIGATION = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
TYPED = ("Sec-Fetch-Site: none", *NAVIGATION)
"""What a browser says of an address that a person opened."""
FOREIGN_REQUESTS = {
    "a picture": ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"),
    "a frame": ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"),
    "a fetch of a sibling site": ("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"),
    "a window that it opens": ("Sec-Fetch-Site: cross-site", *NAVIGATION),
    "nothing, in an old browser": (),
}


@pytest.mark.parametrize("name", FOREIGN_REQUESTS)
async def test_no_foreign_page_can_use_up_the_attempts_of_an_operator(name: str, served: Served) -> None:
    headers, path = FOREIGN_REQUESTS[name], served.link().removeprefix(served.url)
    found = [(await raw(served.url, f"/dashboard/enter?token={MARK}", *headers))[0] for _ in range(40)]
    if name in {"a window that it opens", "nothing, in an old browser"}:
        assert (set(found[:10]), found[-1]) == ({401}, 429)
    else:
        assert set(found) == {403}
        assert (await raw(served.url, path, *headers))[0] == 403, "an embedded address uses no token up"
    assert (await raw(served.url, path, *TYPED))[0] == 303


async def test_only_wrong_tokens_count_as_attempts(tmp_path: Path) -> None:
    async with serving(tmp_path, worker__web_token="open-sesame") as served:
        for _ in range(15):
            assert (await raw(served.url, served.link().removeprefix(served.url), *TYPED))[0] == 303
            assert (await raw(served.url, "/dashboard/enter", *TYPED))[0] == 401
            assert (await signed_in(served, "open-sesame")) == 303


async def signed_in(served: Served, token: str) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{served.url}/dashboard/enter",
            data={"token": token},
            headers={"Origin": served.url, "Sec-Fetch-Site": "same-origin"},
            allow_redirects=False,
        ) as response,
    ):
        return response.status


async def test_after_too_many_wrong_tokens_not_even_the_right_one_is_told_apart(tmp_path: Path) -> None:
    """Otherwise the limit would slow down nothing: an answer of another kind is all that a guess wants."""
    async with serving(tmp_path, worker__web_token="open-sesame") as served:
        found = [await signed_in(served, "guess") for _ in range(15)]
        assert (set(found[:10]), found[-1]) == ({401}, 429)
        assert await signed_in(served, "open-sesame") == 429
        right, wrong = "Authorization: Bearer open-sesame", "Authorization: Bearer guess"
        assert (await raw(served.url, "/dashboard/review.json", right))[0] == 200, "scripts are counted apart"
        found = [(await raw(served.url, "/dashboard/review.json", wrong))[0] for _ in range(15)]
        assert (set(found[:10]), found[-1]) == ({401}, 429)
        assert (await raw(served.url, "/dashboard/review.json", right))[0] == 429
        link = served.link().removeprefix(served.url)
        found = [(await raw(served.url, f"/dashboard/enter?token={n}", *TYPED))[0] for n in range(15)]
        assert (set(found[:10]), found[-1]) == ({401}, 429)
        assert (await raw(served.url, link, *TYPED))[0] == 429


async def test_an_address_with_a_token_opens_the_dashboard_once(served: Served) -> None:
    address = served.link()
    async with Browser(served.url) as first, Browser(served.url) as second:
        await first.enter(address)
        status, page, _ = await second.get(address.removeprefix(served.url))
        assert status == 401
        assert first.cookie not in page
        assert (await second.get("/dashboard/"))[0] == 401
        assert (await first.get("/dashboard/"))[0] == 200


async def test_the_cookie_cannot_be_read_by_scripts_or_sent_by_other_sites(served: Served) -> None:
    status, text, headers = await raw(served.url, served.link().removeprefix(served.url))
    assert (status, text, headers["Location"]) == (303, "", "/dashboard/")
    flags = {part.strip().split("=")[0].lower(): part.strip() for part in headers["Set-Cookie"].split(";")}
    assert flags["samesite"] == "SameSite=Strict"
    assert flags["path"] == "Path=/dashboard"
    assert "httponly" in flags
    assert int(flags["max-age"].split("=")[1]) == 12 * 3_600


async def test_a_link_from_a_chat_asks_again_instead_of_asking_for_a_token(served: Served) -> None:
    """A browser withholds a strict cookie from the first request; the page asks again from this origin."""
    accept = "Accept: text/html"
    status, text, _ = await raw(served.url, "/dashboard/review", accept, "Sec-Fetch-Site: cross-site")
    assert status == 200
    assert "refresh" in text
    assert (await raw(served.url, "/dashboard/review", accept, "Sec-Fetch-Site: same-origin"))[0] == 401


async def test_somebody_who_signs_out_is_out(served: Served, browser: Browser) -> None:
    sent = an_order(browser)._replace(path="/dashboard/leave", body={})
    assert (await send(served.url, sent))[0] == 200
    assert (await send(served.url, sent))[0] == 401


async def test_the_token_signs_in_through_the_form_and_scripts_through_a_header(tmp_path: Path) -> None:
    async with serving(tmp_path, worker__web_token="open-sesame") as served:
        for token, name, expected in (
            ("wrong", "ada", 401),
            ("", "ada", 401),
            ("open-sesame", MARK, 400),
            ("open-sesame", "ada", 303),
        ):
            async with aiohttp.ClientSession() as session:
                form = {"token": token, "name": name}
                origin = {"Origin": served.url}
                enter = f"{served.url}/dashboard/enter"
                async with session.post(enter, data=form, headers=origin, allow_redirects=False) as response:
                    assert response.status == expected
                    assert MARK not in await response.text()
                async with session.post(enter, data=form, allow_redirects=False) as response:
                    assert response.status == 403  # no origin
        body = {"command": "HoldTask", "agent_name": "nobody", "task_type": "knows", "reason": "because"}
        headers = {"Authorization": "Bearer open-sesame", "Content-Type": "application/json"}
        assert (await send(served.url, Sent(headers, body)))[0] == 404
        assert (await send(served.url, Sent(headers | {"Authorization": "Bearer open"}, body)))[0] == 401


async def test_a_command_that_is_packed_is_read_alike_alone_and_through_the_worker(
    served: Served, browser: Browser
) -> None:
    order = an_order(browser)
    packed = order._replace(
        body=gzip.compress(json.dumps(order.body).encode()), headers=order.headers | {"Content-Encoding": "gzip"}
    )
    status, text, _ = await send(served.url, packed)
    assert (status, json.loads(text)["error"]) == (404, "The task is not known.")


async def test_a_form_with_too_many_fields_is_refused(served: Served) -> None:
    form = {f"field{number}": "1" for number in range(40)}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{served.url}/dashboard/enter", data=form, headers={"Origin": served.url}) as response,
    ):
        assert response.status == 400


async def test_a_name_that_is_given_twice_is_that_of_nobody(tmp_path: Path) -> None:
    flags = {"web__actor_header": "X-Forwarded-User", "web__trusted_addresses": "127.0.0.1"}
    async with serving(tmp_path, **flags) as served, aiohttp.ClientSession() as session:
        twice = CIMultiDict([("X-Forwarded-User", "admin"), ("X-Forwarded-User", "mallory")])
        async with session.get(f"{served.url}/dashboard/", headers=twice) as response:
            assert response.status == 403


@pytest.mark.parametrize("everybody", ["0.0.0.0/0", "10.0.0.1, ::/0"])
def test_nobody_trusts_the_whole_internet(everybody: str, tmp_path: Path) -> None:
    flags = {"web__actor_header": "X-Forwarded-User", "web__trusted_addresses": everybody}
    with pytest.raises(ConfigError, match="would let everybody say who they are"):
        make_dashboard(some_settings(tmp_path, **flags), "127.0.0.1")


@pytest.mark.parametrize("header", ["Host", "cookie", "Authorization", "User-Agent"])
def test_a_header_that_every_browser_sends_names_nobody(header: str, tmp_path: Path) -> None:
    flags = {"web__actor_header": header, "web__trusted_addresses": "127.0.0.1"}
    with pytest.raises(ConfigError, match="so it cannot name a person"):
        make_dashboard(some_settings(tmp_path, **flags), "127.0.0.1")


@pytest.mark.parametrize("host", ["*", "https://dash.example.com", "dash.example.com:8443", "a b", "*.example.com"])
def test_what_is_no_host_name_is_not_silently_allowed(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not the name of a host"):
        make_dashboard(some_settings(tmp_path, web__allowed_hosts=f"ok.example.com, {host}"), "127.0.0.1")


def test_names_and_addresses_of_hosts_can_be_allowed(tmp_path: Path) -> None:
    names = "Dash.Example.com, 10.0.0.5, [fd00::1], localhost, dash_board.example.com"
    rules = make_dashboard(some_settings(tmp_path, web__allowed_hosts=names), "127.0.0.1")._access.rules
    expected = {"dash.example.com", "10.0.0.5", "fd00::1", "localhost", "dash_board.example.com"}
    assert expected <= rules.names


async def test_without_a_token_the_form_lets_nobody_in(served: Served) -> None:
    for token in ("", "guess"):
        form = {"token": token, "name": "ada"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{served.url}/dashboard/enter", data=form, headers={"Origin": served.url}, allow_redirects=False
            ) as response,
        ):
            assert response.status == 401
            assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::1", "a b"])
async def test_no_page_is_shown_under_a_strange_host_name(host: str, served: Served, browser: Browser) -> None:
    name, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    cookie = f"Cookie: {browser.session_cookie}"
    writer.write(f"GET /dashboard/ HTTP/1.1\r\nHost: {host}\r\n{cookie}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.split(b" ")[1] in {b"400", b"403"}
    assert browser.csrf.encode() not in answer
    assert b"evil" not in answer


async def test_only_a_trusted_proxy_may_say_who_somebody_is(tmp_path: Path) -> None:
    flags = {"web__actor_header": "X-Forwarded-User", "web__trusted_addresses": "127.0.0.1, 10.0.0.0/8"}
    async with serving(tmp_path, **flags) as served, Browser(served.url) as browser:
        status, page, _ = await browser.get("/dashboard/", **{"X-Forwarded-User": "grace@example.com"})
        assert status == 200
        assert (await browser.get("/dashboard/"))[0] == 401
        assert (await browser.get("/dashboard/", **{"X-Forwarded-User": "grace <x>"}))[0] == 403
        browser.look_at(page)
        order = an_order_of_proxy(browser)
        assert (await send(served.url, order))[0] == 404
        assert (await send(served.url, but(X_Forwarded_User="mallory")(order)))[0] == 403  # the secret is grace's
        assert (await send(served.url, but(**{PROOF: None})(order)))[0] == 403
    flags["web__trusted_addresses"] = "10.0.0.0/8"
    async with serving(tmp_path, **flags) as served, Browser(served.url) as browser:
        assert (await browser.get("/dashboard/", **{"X-Forwarded-User": "grace"}))[0] == 403


def an_order_of_proxy(browser: Browser) -> Sent:
    headers = {
        "X-Forwarded-User": "grace@example.com",
        "Origin": browser.url,
        "Content-Type": "application/json",
        PROOF: browser.csrf,
    }
    return Sent(headers, {"command": "HoldTask", "agent_name": "nobody", "task_type": "knows", "reason": "because"})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "worker.example"])  # noqa: S104 - nothing listens
def test_a_dashboard_that_others_can_reach_needs_a_token_or_a_proxy(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="open to the network"):
        make_dashboard(some_settings(tmp_path), host)
    make_dashboard(some_settings(tmp_path, worker__web_token="secret"), host)
    proxy = {"web__actor_header": "X-User", "web__trusted_addresses": "10.0.0.1"}
    make_dashboard(some_settings(tmp_path, **proxy), host)


@pytest.mark.parametrize(
    "flags",
    [
        {"web__actor_header": "X-User"},
        {"web__trusted_addresses": "10.0.0.1"},
        {"web__actor_header": "X-User", "web__trusted_addresses": "the proxy"},
    ],
)
def test_a_proxy_that_is_only_half_named_is_refused(flags: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        make_dashboard(some_settings(tmp_path, **flags), "127.0.0.1")


async def test_a_dashboard_for_the_network_goes_by_addresses_and_by_names_that_are_known(tmp_path: Path) -> None:
    flags = {"worker__web_token": "open-sesame", "web__allowed_hosts": "crl.example.com"}
    async with serving(tmp_path, host="0.0.0.0", **flags) as served:  # noqa: S104 - it listens on loopback
        bearer = "Authorization: Bearer open-sesame"
        for host, expected in (("192.0.2.7:6066", 200), ("crl.example.com", 200), ("evil.example", 403)):
            name, port = served.url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(name, int(port))
            lines = ["GET /dashboard/review HTTP/1.1", f"Host: {host}", bearer, "Connection: close", "", ""]
            writer.write("\r\n".join(lines).encode())
            first = (await reader.read()).split(b"\r\n")[0]
            writer.close()
            assert first.split(b" ")[1] == str(expected).encode()


async def test_a_dashboard_without_orders_takes_none(tmp_path: Path) -> None:
    async with serving(tmp_path, web__commands="off") as served, Browser(served.url) as browser:
        await browser.enter(served.link())
        status, text, _ = await send(served.url, an_order(browser))
        assert (status, json.loads(text)["error"]) == (403, "This dashboard accepts no commands.")


async def test_the_rules_of_the_json_views_stay_as_they_were(tmp_path: Path) -> None:
    async with serving(tmp_path, worker__web_token="open-sesame") as served, Browser(served.url) as browser:
        await browser.enter(served.link())
        status, text, _ = await browser.get("/api/tasks", Cookie=browser.session_cookie)
        assert (status, json.loads(text)["error"]) == (401, "The token is missing or wrong.")
        assert ACTOR not in text


def test_two_installations_behind_one_host_name_do_not_share_a_session(tmp_path: Path) -> None:
    """Browsers send the cookies of a host to all of its ports."""
    assert Doors(tmp_path / "a").cookie != Doors(tmp_path / "b").cookie
    assert Doors(tmp_path / "a").cookie == Doors(tmp_path / "a").cookie


async def test_a_used_address_leads_a_person_with_a_session_to_the_page_and_tells_others_why(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        link = served.link()
        async with Browser(served.url) as ada:
            await ada.enter(link)
            assert 'data-csrf="' in await ada.enter(link), "signed in already"
            served.dashboard.doors.end(ada.cookie)
            status, text, _ = await ada.get(link.removeprefix(served.url))
            assert (status, "was already used, or is too old" in text) == (401, True)
        async with Browser(served.url) as grace:
            status, text, _ = await grace.get(link.removeprefix(served.url))
            assert (status, "was already used, or is too old" in text, "crl dashboard --link" in text) == (
                401,
                True,
                True,
            )
