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
SET_HERE: Final = frozenset(("host", "content-length", SECRET.lower(), PEER.lower()))


class Task(NamedTuple):
    """What the process needs to know."""

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
        self._task = Task(settings, host, url, self.secret)
        self._starting = asyncio.Lock()
        self.process: asyncio.subprocess.Process | None = None
        self.port = 0
        self._session: aiohttp.ClientSession | None = None
        self._ending: asyncio.Task[None] | None = None
        self._open = 0
        """How many requests are being answered; a stream is one of them."""
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
        if self._timer is not None:
            self._timer.cancel()
        if self._ending is not None:
            await self._ending
        await self._end()
        if self._session is not None:
            await self._session.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self._open += 1
        if self._timer is not None:
            self._timer.cancel()
        try:
            return await self._pass_on(request)
        except Refusal as refusal:
            response = problem(refusal)
            response.force_close()
            return response
        finally:
            self._open -= 1
            if not self._open:
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
        except aiohttp.ClientError:
            raise Refusal(503, "The dashboard did not answer.", "reload the page", **_soon()) from None

    async def _started(self) -> None:
        """Make sure that the process listens; refuse if it cannot be started."""
        async with self._starting:
            if self.process is not None and self.process.returncode is None:
                return
            if self.process is not None:
                log.warning(
                    "the process of the dashboard ended with code %s; starting another", self.process.returncode
                )
            self._open_session()
            try:
                self.process, self.port = await _start(self._task)
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
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0),
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


async def _start(task: Task) -> tuple[asyncio.subprocess.Process, int]:
    """Start the process and return the port on which it listens."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", MODULE, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        order = pickle.dumps(task)
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
    await response.prepare(request)
    with contextlib.suppress(ConnectionResetError):  # the viewer has left
        async for part in answer.content.iter_any():
            await response.write(part)
        await response.write_eof()
    return response


def _soon() -> dict[str, str]:
    return {"Retry-After": "2"}
