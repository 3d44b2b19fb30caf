"""Untrusted text mentions no user and becomes neither HTML nor a link in any service that people read."""

from __future__ import annotations

import email
import importlib.util
import json
import smtplib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.notifiers.channels.apprise import AppriseChannel, AppriseOptions
from crl_stream.notifiers.failures import Undelivered
from crl_stream.notifiers.notice import notice_of
from crl_stream.notifiers.plain import plain
from notifiers.stage import an_alert

EVIL = (
    "<!channel> <b>x</b><img src=http://evil/p.png> [click](http://evil) <http://evil|your bank> @everyone @here "
    "&lt;script&gt; \u202egnp https://evil.com/login www.evil.com mailto:a@evil.com **all** ~~not~~ ||hidden|| `code`"
)
SERVICES = {
    "slack": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops",
    "discord": f"discord://123456789012345678/{'abcdefghijklmnopqrstuvwxyz0123456789' * 2}",
    "telegram": "tgram://123456789:abcdefg_hijklmnop/12315544/",
    "mail": "mailto://user:pw@example.com?to=ops@example.com",
    "json": "json://localhost/",
    "pagerduty": "pagerduty://intkey@abcd1234abcd1234abcd1234abcd1234",
}
ACTS = ("<!channel>", "<b>x", "<img", "[click]", "@everyone", "@here", "://", "www.evil", "<http", "\u202e", "**", "||")


class _Answer:
    status_code, content, text = 200, b'{"ok":true}', "ok"

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}

    def json(self) -> Any:
        return {"ok": True}


@pytest.mark.skipif(importlib.util.find_spec("apprise") is None, reason="Apprise is not installed: crl-stream[notify]")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from modules that Apprise imports
@pytest.mark.parametrize("service", sorted(SERVICES))
async def test_markup_in_the_texts_of_strangers_means_nothing_to_a_service(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import requests

    said: list[str] = []

    def post(*_: Any, data: Any = None, **more: Any) -> _Answer:
        body = data if data is not None else json.dumps(more.get("json"))
        said.append(json.dumps(json.loads(body), ensure_ascii=False))
        return _Answer()

    class Mail:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def __getattr__(self, _name: str) -> Any:
            return lambda *_, **__: None

        def sendmail(self, _from: str, _to: Any, text: str) -> None:
            parts = [part for part in email.message_from_string(text).walk() if not part.is_multipart()]
            assert {part.get_content_type() for part in parts} == {"text/plain"}
            said.extend(part.get_payload(decode=True).decode() for part in parts)  # type: ignore[union-attr]

    monkeypatch.setattr(requests, "post", post)
    monkeypatch.setattr(requests, "request", lambda _, *args, **more: post(*args, **more))
    monkeypatch.setattr(requests.Session, "post", lambda _, *args, **more: post(*args, **more))
    monkeypatch.setattr(smtplib, "SMTP", Mail)
    monkeypatch.setattr(smtplib, "SMTP_SSL", Mail)
    text = f"a/t v2: degraded but not rolled back: held by {EVIL} since 2026; crl resume a/t releases it"
    channel = AppriseChannel("ops", AppriseOptions(kind="apprise", url=SERVICES[service]))
    with suppress(Undelivered):  # some services reject the fake answer; only the text that was sent matters
        await channel.send(notice_of(an_alert(1, subject=f"a/t {EVIL}", text=text, kind="held_degradation")))
    await channel.close()
    whole = "\n".join(said)
    assert "crl resume a/t" in whole, "a command can be copied"
    ours = {"https://github.com/caronc/apprise"}
    for piece in ours:
        whole = whole.replace(piece, "")
    lines = [line for line in whole.splitlines() if "evil" in line]
    texts = " ".join(_strings(json.loads(line)) if line.startswith("{") else line for line in lines)
    assert [act for act in ACTS if act in texts] == []


def _strings(value: Any) -> str:
    """Return the strings in a document that contain the untrusted text."""
    if isinstance(value, dict):
        return " ".join(_strings(inner) for inner in value.values())
    if isinstance(value, list):
        return " ".join(map(_strings, value))
    return value if isinstance(value, str) and "evil" in value else ""


@given(st.text())
def test_no_text_keeps_a_character_that_a_service_acts_on_and_none_is_lost(text: str) -> None:
    assert not set(plain(text)) & set("<>@[]&`*~|#\\")
    assert len(plain(text)) == len(text)
    assert plain(plain(text)) == plain(text)


@pytest.mark.parametrize("link", ["http://e.vil", "HTTPS://E.VIL/x", "ftp://e.vil", "slack://e.vil", "www.e.vil"])
def test_no_link_is_left_whatever_its_scheme(link: str) -> None:
    assert ":/" not in plain(f"see {link} now")
    assert ".vil" not in plain(f"see {link} now").lower()


@pytest.mark.parametrize(
    "command",
    ["crl undo backend-architect/api-design --epoch 3", "crl window a.b_c:d/t-1", "crl dead-letters show 3:17"],
)
def test_a_command_stays_what_can_be_copied(command: str) -> None:
    assert plain(command) == command
