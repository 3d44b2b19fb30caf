"""Passes the requests for a worker's dashboard on to a process of its own, and the answers back.

The process begins with the first request and ends some minutes after the last one.  If it dies, the next request starts
another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import secrets
import sys
from typing import Final, NamedTuple

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from crl_stream.dashboard.web.access import Refusal, make_rules
from crl_stream.dashboard.web.answers import problem
from crl_stream.dashboard.web.bodies import body_of
from crl_stream.dashboard.web.doors import BASE
from crl_stream.dashboard.web.own_rules import with_own_rules
from crl_stream.settings import Settings

log = logging.getLogger(__name__)

START_SECONDS: Final = 30.0
"""How long the process may take to listen."""
STOP_SECONDS: Final = 1.0
LEAVE_SECONDS: Final = 0.5
"""How long answers may still be written after the end of the process."""
ANSWER_SECONDS: Final = 60.0
"""How long the process may send nothing of an answer; it answers sooner, and sends something to streams every 5 s."""
WRITE_SECONDS: Final = 20.0
"""How long a viewer may read nothing of its answer."""
IDLE_SECONDS: Final = 900.0
"""How long the process continues after the last request."""
HOST: Final = "127.0.0.1"
"""Where the process listens."""
SECRET: Final = "X-CRL-Relay"  # noqa: S105 - the name of a header
"""The header by which the process knows its worker."""
PEER: Final = "X-CRL-Peer"
"""The header with the address from which the worker got the request."""
MODULE: Final = "crl_stream.worker.dashboard_process"
OF_ONE_CONNECTION: Final = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Headers about the connection between two programs; they are not passed on (RFC 9110, 7.6.1)."""
SET_HERE: Final = frozenset(("host", "content-length", "content-encoding", SECRET.lower(), PEER.lower()))
"""Headers that are not taken from the request; its body was decoded when it was read."""


class Startup(NamedTuple):
    """What the process is told when it starts."""

    settings: Settings
    host: str
    """The address on which the worker listens."""
    url: URL
    """The address by which the worker is known."""
    secret: str


class Relay:
    """The dashboard of a worker that listens on ``host`` and is known as ``url``.

    Raises ``ConfigError`` if it would be open to strangers.
    """

    def __init__(self, settings: Settings, host: str, url: URL) -> None:
        make_rules(settings, host, ())
        self.secret = secrets.token_urlsafe(32)
        """What tells the process that a request comes from here."""
        self._startup = Startup(settings, host, url, self.secret)
        self._starting = asyncio.Lock()
        self.process: asyncio.subprocess.Process | None = None
        self.port = 0
        self._session: aiohttp.ClientSession | None = None
        self._ending: asyncio.Task[None] | None = None
        self._birth: asyncio.Task[tuple[asyncio.subprocess.Process, int]] | None = None
        self._closing = False
        self._open: dict[int, web.Request] = {}
        """The requests that are being answered, by their ids; a stream is one of them."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._timer: asyncio.TimerHandle | None = None

    def add_to(self, app: web.Application) -> None:
        """Add every address under ``BASE``, for all methods; the process decides about each."""

        async def relayed(request: web.Request) -> web.StreamResponse:
            return await self._answer(request)

        for path in (BASE, BASE + "/{rest:.*}"):
            app.router.add_route("*", path, with_own_rules(relayed))
        app.on_shutdown.append(self._close)

    async def _close(self, _app: web.Application) -> None:
        await self.close()

    async def close(self) -> None:
        """End the process and the connections to it."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        if self._birth is not None:
            self._birth.cancel()
        if self._ending is not None:
            await self._ending
        async with self._starting:
            await self._end()
        if self._session is not None:
            await self._session.close()
        await self._leave()

    async def _leave(self) -> None:
        """Break off the answers that are still being written, because a viewer can take for ever to read one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._idle.wait()
        for request in self._open.values():
            _break_off(request)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self._open[id(request)] = request
        self._idle.clear()
        if self._timer is not None:
            self._timer.cancel()
        try:
            return await self._pass_on(request)
        except Refusal as refusal:
            response = problem(refusal)
            response.force_close()
            return response
        finally:
            del self._open[id(request)]
            if not self._open:
                self._idle.set()
            if not self._open and not self._closing:
                self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._begin_to_end)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        if len(request.headers.getall("Host", [])) != 1:
            raise Refusal(403, "A request must name one host.", "open the address that crl dashboard --link prints")
        body = await body_of(request)
        await self._started()
        assert self._session is not None
        headers = CIMultiDict(
            (name, value)
            for name, value in request.headers.items()
            if name.lower() not in OF_ONE_CONNECTION and name.lower() not in SET_HERE
        )
        headers.update({"Host": request.headers["Host"], SECRET: self.secret, PEER: request.remote or ""})
        target = URL(f"http://{HOST}:{self.port}{request.rel_url.raw_path_qs}", encoded=True)
        try:
            async with self._session.request(
                request.method,
                target,
                headers=headers,
                data=body or None,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            ) as answer:
                return await _passed_back(request, answer, refuses=bool(body) and answer.status >= 400)
        except aiohttp.ClientConnectorError:
            raise Refusal(503, "The process of the dashboard has ended.", "reload the page", **_soon()) from None
        except aiohttp.ClientError as error:
            if isinstance(error, aiohttp.ServerTimeoutError):
                log.warning("the process of the dashboard did not answer for %g s", ANSWER_SECONDS)
            raise _unanswered(with_command=bool(body)) from None

    async def _started(self) -> None:
        """Make sure that the process listens; refuse if it cannot be started."""
        async with self._starting:
            if self._closing:
                raise _stopping()
            if self.process is not None and self.process.returncode is None:
                return
            if self.process is not None:
                log.warning(
                    "the process of the dashboard ended with code %s; starting another", self.process.returncode
                )
            self._open_session()
            self._birth = asyncio.create_task(_start(self._startup))
            try:
                self.process, self.port = await self._birth
            except asyncio.CancelledError:
                if not self._closing:
                    raise
                raise _stopping() from None
            except (OSError, ValueError, TimeoutError) as error:
                log.error("the process of the dashboard cannot be started: %r", error)  # noqa: TRY400 - no traceback
                raise Refusal(
                    503,
                    "The process of the dashboard cannot be started.",
                    "the log of the worker says why; crl dashboard --web serves it without a worker",
                    **_soon(),
                ) from None

    def _open_session(self) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=ANSWER_SECONDS),
                auto_decompress=False,
            )

    def _begin_to_end(self) -> None:
        self._ending = asyncio.create_task(self._end_if_idle())

    async def _end_if_idle(self) -> None:
        async with self._starting:
            if not self._open:
                await self._end()

    async def _end(self) -> None:
        process, self.process = self.process, None
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()  # its standard input ends, and so does the process
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.communicate()
        except TimeoutError:
            await _kill(process)


async def _start(startup: Startup) -> tuple[asyncio.subprocess.Process, int]:
    """Start the process and return the port on which it listens."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", MODULE, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        order = pickle.dumps(startup)
        process.stdin.write(len(order).to_bytes(4, "big") + order)
        async with asyncio.timeout(START_SECONDS):
            await process.stdin.drain()
            return process, int(await process.stdout.readline())
    except BaseException:
        await _kill(process)
        raise


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.communicate()


async def _passed_back(request: web.Request, answer: aiohttp.ClientResponse, *, refuses: bool) -> web.StreamResponse:
    """Pass an answer back as it comes; a slow reader slows down only its own stream."""
    response = web.StreamResponse(
        status=answer.status,
        reason=answer.reason,
        headers=CIMultiDict(
            (name, value) for name, value in answer.headers.items() if name.lower() not in OF_ONE_CONNECTION
        ),
    )
    if refuses:
        response.force_close()
    writer = await response.prepare(request)
    assert writer is not None
    try:
        async for part in answer.content.iter_any():
            async with asyncio.timeout(WRITE_SECONDS):
                await response.write(part)
                await writer.drain()  # ``write`` lets small answers to many requests of one connection pile up
        await response.write_eof()
    except (aiohttp.ClientError, ConnectionResetError, TimeoutError):
        # The process or the viewer has left, or the viewer reads nothing.  Half an answer must not look whole.
        _break_off(request)
    return response


def _break_off(request: web.Request) -> None:
    """Close the connection of a request at once."""
    if request.transport is not None:
        request.transport.abort()


def _unanswered(*, with_command: bool) -> Refusal:
    if with_command:
        return Refusal(
            503,
            "The dashboard did not answer, so it is not known whether the command arrived.",
            "crl audit shows it if it did",
        )
    return Refusal(503, "The dashboard did not answer.", "reload the page", **_soon())


def _stopping() -> Refusal:
    return Refusal(503, "The worker is stopping.", "reload the page when it is there again", **_soon())


def _soon() -> dict[str, str]:
    return {"Retry-After": "2"}
