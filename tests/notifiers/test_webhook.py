"""A signed document is sent to a real server over HTTP, and the receiver can tell it from a forged one."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.notifiers.channels.webhook import WebhookChannel, WebhookOptions, asked_wait
from crl_stream.notifiers.failures import Refused, Undelivered
from crl_stream.notifiers.notice import notice_of
from crl_stream.notifiers.signature import signed_headers, verify
from notifiers.receiver import Receiver
from notifiers.stage import Clock, a_notifier, an_alert, an_example, records

SECRET = "0123456789abcdef-of-the-receiver"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "notifiers.md"
NOTICE = notice_of(an_example("crl.alerts", "Alert-rollback"))


def webhook(url: str, **options: Any) -> WebhookChannel:
    settings = WebhookOptions(kind="webhook", url=url, secret=SECRET, **options)
    return WebhookChannel("ops", settings)


async def sent(receiver: Receiver) -> tuple[dict[str, str], bytes]:
    channel = webhook(receiver.url)
    await channel.send(NOTICE)
    await channel.close()
    return receiver.requests[-1]


async def test_a_webhook_s_signature_is_that_of_the_exact_body_by_the_published_scheme(receiver: Receiver) -> None:
    headers, body = await sent(receiver)
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    # Standard Webhooks: "v1," + base64(HMAC-SHA256(secret, id + "." + timestamp + "." + body))
    signed = b".".join([NOTICE.id.encode(), headers["webhook-timestamp"].encode(), body])
    expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-id"] == NOTICE.id
    assert headers["content-type"] == "application/json"


async def test_the_snippet_of_the_documentation_knows_our_requests_from_others(receiver: Receiver) -> None:
    [snippet] = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(snippet, scope)  # noqa: S102 - what receivers are told to copy
    is_from_crl = scope["is_from_crl"]
    headers, body = await sent(receiver)
    assert is_from_crl(SECRET.encode(), headers, body)
    assert not is_from_crl(SECRET.encode(), headers, body + b" ")
    assert not is_from_crl(b"another secret of 32 characters..", headers, body)
    assert not is_from_crl(SECRET.encode(), headers | {"webhook-id": "another"}, body)
    late = str(int(headers["webhook-timestamp"]) - 301)
    assert not is_from_crl(SECRET.encode(), signed_headers(SECRET, NOTICE.id, int(late), body), body)


async def test_the_body_is_the_documented_document(receiver: Receiver) -> None:
    _, body = await sent(receiver)
    document = json.loads(body)
    [example] = re.findall(r"```json\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    documented = json.loads(example)
    assert list(document) == list(documented)
    assert list(document["data"]) == list(documented["data"])
    assert (document["type"], document["timestamp"]) == (documented["type"], documented["timestamp"])
    assert document["data"]["data"]["cause_id"] == "rb-20251119-782af3edde5b"


async def test_a_notice_that_is_sent_again_has_the_same_id_and_body_and_a_new_timestamp(receiver: Receiver) -> None:
    receiver.answers = [lambda: web.Response(status=503, headers={"Retry-After": "7"})]
    clock = Clock()
    options = WebhookOptions(kind="webhook", url=receiver.url, secret=SECRET)
    channel = WebhookChannel("ops", options, now=clock.now)
    notifier = a_notifier(channel, clock, settings=options)
    await notifier.deliver("crl.alerts", records([an_alert(1, timestamp="2025-11-19T14:59:00Z")]))
    await notifier.close()
    (first, body), (second, again) = receiver.requests
    assert body == again
    assert first["webhook-id"] == second["webhook-id"] == an_alert(1).alert_id
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 7
    assert clock.slept == [7]


@pytest.mark.parametrize(
    ("status", "failure"), [(400, Refused), (422, Refused), (401, Undelivered), (404, Undelivered), (500, Undelivered)]
)
async def test_an_answer_that_is_no_2xx_is_a_failure_and_shows_nothing_of_the_address(
    receiver: Receiver, status: int, failure: type[Undelivered]
) -> None:
    receiver.answers = [lambda: web.Response(status=status)]
    channel = webhook(receiver.url)
    with pytest.raises(Undelivered, match=str(status)) as caught:
        await channel.send(NOTICE)
    await channel.close()
    assert type(caught.value) is failure
    assert "T0P-SECRET" not in str(caught.value)


async def test_a_redirect_is_not_followed_with_what_was_meant_for_somebody_else(receiver: Receiver) -> None:
    receiver.answers = [lambda: web.Response(status=307, headers={"Location": receiver.url})]
    channel = webhook(receiver.url)
    with pytest.raises(Undelivered, match="307"):
        await channel.send(NOTICE)
    await channel.close()
    assert len(receiver.requests) == 1


async def test_a_receiver_that_says_nothing_is_left_after_the_timeout() -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with_us.append(writer)

    with_us: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    channel = webhook(f"http://127.0.0.1:{port}/T0P-SECRET", timeout_seconds=0.05)
    with pytest.raises(Undelivered, match="no answer within"):
        await channel.send(NOTICE)
    await channel.close()
    for writer in with_us:
        writer.close()
    server.close()
    with pytest.raises(Undelivered, match="cannot be reached") as caught:
        await webhook_once(f"http://127.0.0.1:{port}/T0P-SECRET")
    assert "T0P-SECRET" not in str(caught.value)


async def webhook_once(url: str) -> None:
    channel = webhook(url)
    try:
        await channel.send(NOTICE)
    finally:
        await channel.close()


@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(-400, 400), st.sampled_from(["same", "other"]))
def test_a_signature_is_good_for_its_own_bytes_for_five_minutes(
    body: bytes, other: bytes, age: int, secret: str
) -> None:
    headers = signed_headers(SECRET, "alert-1", 1_700_000_000, body)
    given_secret = SECRET if secret == "same" else SECRET + "x"
    good = secret == "same" and body == other and abs(age) <= 300
    assert verify(given_secret, headers, other, 1_700_000_000 + age) == good


def test_a_secret_may_be_given_as_the_standard_writes_it() -> None:
    raw = b"sixteen bytes or more"
    written = "whsec_" + base64.b64encode(raw).decode()
    assert signed_headers(written, "a", 1, b"{}") == signed_headers(raw.decode(), "a", 1, b"{}")


@pytest.mark.parametrize("headers", [{}, {"webhook-timestamp": "soon"}, {"webhook-timestamp": "²"}])
def test_headers_that_lack_something_verify_nothing(headers: dict[str, str]) -> None:
    assert not verify(SECRET, headers, b"{}", 0.0)


@pytest.mark.parametrize(
    ("said", "date", "expected"),
    [
        ("7", "", 7.0),
        (" 7 ", "", 7.0),
        ("0.5", "", 0.5),
        ("1e2", "", 100.0),
        ("-30", "", 0.0),
        ("31536000", "", 31_536_000.0),
        ("inf", "", 0.0),
        ("nan", "", 0.0),
        ("", "", 0.0),
        ("soon", "", 0.0),
        ("Wed, 19 Nov 2025 15:02:00 GMT", "", 120.0),
        ("Wednesday, 19-Nov-25 15:02:00 GMT", "", 120.0),
        ("Wed Nov 19 15:02:00 2025", "", 120.0),
        ("Wed, 19 Nov 2025 14:00:00 GMT", "", 0.0),
        ("Thu, 19 Nov 2026 15:00:00 GMT", "", 31_536_000.0),
        # The receiver's clock is ten minutes ahead, and it asks for two minutes by that clock.
        ("Wed, 19 Nov 2025 15:12:00 GMT", "Wed, 19 Nov 2025 15:10:00 GMT", 120.0),
        ("Wed, 99 Nov 2025 15:12:00 GMT", "", 0.0),
        ("Wed, 19 Nov 99999 15:12:00 GMT", "", 0.0),
    ],
)
def test_a_wait_is_asked_for_in_seconds_or_as_a_date(said: str, date: str, expected: float) -> None:
    assert asked_wait(said, date, Clock().now()) == expected


@given(st.text(), st.text())
def test_no_retry_after_raises_and_none_asks_for_less_than_nothing(said: str, date: str) -> None:
    assert asked_wait(said, date, 0.0) >= 0.0


@pytest.mark.parametrize(
    ("said", "waited"), [("Wed, 19 Nov 2025 15:02:00 GMT", 120.0), ("2.5", 2.5), ("31536000", 3_600.0), ("-5", 1.0)]
)
async def test_a_receiver_s_retry_after_is_obeyed_up_to_an_hour(receiver: Receiver, said: str, waited: float) -> None:
    headers = {"Retry-After": said, "Date": "Wed, 19 Nov 2025 15:00:00 GMT"}
    receiver.answers = [lambda: web.Response(status=503, headers=headers)]
    clock = Clock()
    options = WebhookOptions(kind="webhook", url=receiver.url, secret=SECRET)
    notifier = a_notifier(WebhookChannel("ops", options, now=clock.now), clock, settings=options)
    await notifier.deliver("crl.alerts", records([an_alert(1, timestamp="2025-11-19T14:59:00Z")]))
    await notifier.close()
    assert clock.slept == [waited]
