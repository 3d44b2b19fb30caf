"""Fetches and receives what bridges get over HTTP, and writes it to the inbox before anything else happens to it."""

from __future__ import annotations

import asyncio
import hmac
import logging
from time import monotonic, time
from typing import Any, Final

import aiohttp
from aiohttp import web

from crl_stream.bridges.kinds import Kind
from crl_stream.bridges.polling import Cursor, Fetched, Page, at_end, cursor_header, last_cursor, new_in
from crl_stream.errors import Unavailable
from crl_stream.kafka.reader import TopicReader
from crl_stream.stages.topology import BRIDGE, FIRST
from crl_stream.wire.records import Headers, Output
from crl_stream.worker.bridge_stages import BridgeStage, InboxStage
from crl_stream.worker.member import Member, Stalled

log = logging.getLogger(__name__)

MOST_BYTES: Final = 900_000
"""Size limit of a call of the webhook; such a record fits into the inbox."""
MOST_PAGE_BYTES: Final = 16 * 1024 * 1024
GROUP: Final = 100
"""How many pages are fetched before their scores are written, oldest first."""
MOST_GROUP_BYTES: Final = 64 * 1024 * 1024
"""Size from which fewer pages are enough for that."""
MOST_GROUPS: Final = 1_000
"""How many of these groups one poll fetches at most."""
HEADER: Final = "X-CRL-Secret"
"""The header with the secret of the rule."""
LOOK_BACK: Final = (64, 512, 4_096)
"""How many of the last records of the inbox are read for a place; if none has it, all are, one at a time."""
LOOPBACK: Final = "127.0.0.1"


class Inbox(InboxStage):
    """The stage of a bridge whose input arrives over HTTP, with how far it has read the other system."""

    cursor: Cursor | None = None
    """How far the other system has been read; None until this is known from the inbox."""

    async def position(self, partition: int, committed: int | None, first: int, end: int) -> int:
        """Return where to start, and forget the cursor: another process may have fetched more in the meantime."""
        self.cursor = None
        return await super().position(partition, committed, first, end)

    @property
    def is_ours(self) -> bool:
        """Whether this process still owns the inbox, and has read the place in it."""
        [inbox] = BRIDGE.sources
        return self.cursor is not None and FIRST in self.member.partitions_of(inbox)

    async def append(self, records: list[tuple[bytes, Headers]]) -> None:
        """Write records to the inbox and wait for the broker; those of one batch are written together or not at all."""
        [inbox] = BRIDGE.sources
        key = self.name.encode()
        await self.member.outlet.publish([Output(inbox, FIRST, key, value, tuple(h)) for value, h in records])

    async def last_cursor(self) -> Cursor | None:
        """Return the last cursor in the inbox."""
        [inbox] = BRIDGE.sources
        key, cursor = self.name.encode(), None
        async with TopicReader(self.member.settings.kafka) as reader:
            for count in LOOK_BACK:
                found = [one.record for one in await reader.read_last(inbox, FIRST, count)]
                cursor = last_cursor(found, key)
                if cursor is not None or len(found) < count:
                    return cursor
            async for received in reader.each(inbox, FIRST):
                cursor = last_cursor([received.record], key) or cursor
        return cursor


class Poller:
    """Fetches new scores of one system, in the process that owns the inbox."""

    def __init__(self, inbox: Inbox, kind: Kind, options: Any) -> None:
        assert kind.pull is not None  # a kind that is polled has it
        self.inbox, self.pull, self.options = inbox, kind.pull, options
        self.failures = 0
        self._subject = f"bridges.{inbox.name}"
        self._next = 0.0
        """When the system may be asked again after a failure, by the monotonic clock."""

    async def poll(self, partitions: list[int]) -> None:
        """Fetch what is new; a failure is logged and tried again later."""
        if FIRST not in partitions or monotonic() < self._next:
            return
        try:
            await self._fetch()
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError, Unavailable) as error:
            self._failed(error)
            return
        if self.failures:
            log.info("%s: %s answers again", self._subject, self.options.url)
        self.failures = 0
        self.inbox.member.stalled.pop(self._subject, None)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        wait = min(60.0, 2.0 ** min(self.failures, 10))
        self._next = monotonic() + wait
        known = self.inbox.member.stalled.get(self._subject)
        why = error.message if isinstance(error, Unavailable) else str(error) or repr(error)
        text = f"{self._subject} cannot fetch scores from {self.options.url}: {why.rstrip('.')}."
        action = "nothing is lost: it continues when the system answers; check the url and the keys"
        self.inbox.member.stalled[self._subject] = Stalled(text, action, time() if known is None else known.since)
        if self.failures & (self.failures - 1) == 0:  # log attempts 1, 2, 4, 8 and so on
            log.error("%s Attempt %d; next in %.0f s; %s", text, self.failures, wait, action)

    async def _fetch(self) -> None:
        inbox = self.inbox
        if inbox.cursor is None:
            inbox.cursor = await inbox.last_cursor()
        if (cursor := inbox.cursor) is None:
            # The first run: what follows must not depend on when it succeeds.
            cursor = Cursor(self.options.first_time(round(time() * 1_000)))
            await inbox.append([(b"", (cursor_header(cursor),))])
            inbox.cursor = cursor
        timeout, following = aiohttp.ClientTimeout(total=self.options.timeout_seconds), ""
        headers, since = self.pull.headers(self.options), cursor.since
        async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
            for _ in range(MOST_GROUPS):
                group, size = list[Fetched](), 0
                for _ in range(GROUP):
                    page = await self._page(session, since, following)
                    group += page.scores
                    size += sum(len(one.value) for one in page.scores)
                    if not (following := page.next) or size >= MOST_GROUP_BYTES:
                        break
                if not inbox.is_ours:
                    return  # another process goes on from the place that was written last
                found, cursor = new_in(group, cursor)
                await self._write(found, cursor if following else at_end(cursor, self.options.overlap))
                if not following:
                    return
        text = "%s: %s has more than %d pages of scores; the next poll begins with the first one again"
        log.warning(text, self._subject, self.options.url, MOST_GROUPS * GROUP)

    async def _write(self, found: list[Fetched], cursor: Cursor) -> None:
        """Write new scores and the cursor after them; nothing if there is nothing new."""
        inbox = self.inbox
        if found or cursor != inbox.cursor:
            records: list[tuple[bytes, Headers]] = [(one.value, ()) for one in found] or [(b"", ())]
            last, _ = records.pop()
            await inbox.append([*records, (last, (cursor_header(cursor),))])
            inbox.cursor = cursor

    async def _page(self, session: aiohttp.ClientSession, since: int, following: str) -> Page:
        url, query = self.pull.request(self.options, since, following)
        async with session.get(url, params=query, allow_redirects=False) as response:
            body = bytearray()
            async for part in response.content.iter_any():
                body += part
                if len(body) > MOST_PAGE_BYTES:
                    break
        if response.status != 200:
            raise ValueError(f"it answered {response.status} {response.reason}")
        if len(body) > MOST_PAGE_BYTES:
            raise ValueError("the answer is larger than 16 MiB")
        return self.pull.read(bytes(body))


class Receiver:
    """Receives calls of a webhook on the loopback interface, and answers once the broker has them."""

    def __init__(self, inbox: Inbox, options: Any) -> None:
        self.inbox, self.options = inbox, options
        self.refused = 0
        self._allowance, self._asked = 1.0, monotonic()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; raises ``OSError`` if the port is taken."""
        app = web.Application(client_max_size=MOST_BYTES)
        app.router.add_post("/", self._receive)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self.options.port).start()
        log.info("bridges.%s: receiving at http://%s:%d/", self.inbox.name, LOOPBACK, self.options.port)

    async def close(self) -> None:
        """Stop listening; calls in progress are answered first."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        expected = self.options.secret.get_secret_value().encode()
        if not hmac.compare_digest(request.headers.get(HEADER, "").encode("utf-8", "replace"), expected):
            return self._refuse(401, f"the header {HEADER} does not have the secret")
        if not self._is_allowed():
            return self._refuse(429, "too many requests; try again later")
        body = await request.read()  # aiohttp answers 413 if it is too large
        if not body:
            return self._refuse(400, "the body is empty")
        await self.inbox.append([(body, ())])
        return web.json_response({"accepted": True}, status=202)

    def _is_allowed(self) -> bool:
        now, rate = monotonic(), self.options.requests_per_second
        self._allowance = min(max(1.0, rate), self._allowance + (now - self._asked) * rate)
        self._asked = now
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True

    def _refuse(self, status: int, why: str) -> web.Response:
        self.refused += 1
        if self.refused & (self.refused - 1) == 0:  # log refusals 1, 2, 4, 8 and so on
            log.warning("bridges.%s: refused request %d with %d: %s", self.inbox.name, self.refused, status, why)
        return web.json_response({"error": why}, status=status)


def add_bridge(member: Member, name: str, kind: Kind, options: Any) -> None:
    """Add one bridge to its member: an agent, and what fetches or receives its input."""
    [inbox] = BRIDGE.sources
    foreign = options.source()
    partitions = member.settings.kafka.partitions if foreign else 1
    topic = foreign or member.topics(inbox)
    make = BridgeStage if foreign else Inbox
    stage = make(name, kind, options, member, topic)
    member.add_agent(f"{BRIDGE.name}.{name}", foreign or inbox, stage, partitions=partitions, full=topic)
    if isinstance(stage, Inbox):
        _add_input(member, stage, kind, options)


def _add_input(member: Member, inbox: Inbox, kind: Kind, options: Any) -> None:
    """Let a member fetch or receive what its bridge gets over HTTP."""
    [topic] = BRIDGE.sources
    if kind.arrives == "pull":
        poller = Poller(inbox, kind, options)
        member.look_every(options.poll_seconds, topic, poller.poll, name=f"{BRIDGE.name}.{inbox.name}.poll")
        return
    receiver = Receiver(inbox, options)
    member.at_close(receiver.close)

    async def listen() -> None:
        try:
            await receiver.start()
        except OSError as error:
            member.app.consumer.leave(
                Unavailable(
                    f"bridges.{inbox.name} cannot listen at {LOOPBACK}:{options.port}: {error.strerror or error}.",
                    hint="choose another port",
                )
            )
        await asyncio.Event().wait()

    member.app.task(listen)
