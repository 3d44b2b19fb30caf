"""The addresses of the dashboard, and what every request must pass before it gets an answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs

from aiohttp import web

from crl_stream.core.identity import TaskKey, is_identifier
from crl_stream.core.instant import from_text
from crl_stream.core.policy import Policy, PolicySet
from crl_stream.dashboard import pages
from crl_stream.dashboard.findings import troubles_of
from crl_stream.dashboard.pages import Viewer
from crl_stream.dashboard.web import documents
from crl_stream.dashboard.web.access import BY_TOKEN, FOREIGN, Access, Caller, Refusal, Rules
from crl_stream.dashboard.web.answers import document, page, problem, redirect
from crl_stream.dashboard.web.bodies import body_of
from crl_stream.dashboard.web.doors import BASE, Doors, is_actor
from crl_stream.dashboard.web.hub import Hub, now_ms
from crl_stream.dashboard.web.limits import RateLimit
from crl_stream.dashboard.web.orders import carry_out, make_command, read_order
from crl_stream.dashboard.web.own_rules import with_own_rules
from crl_stream.dashboard.web.shared_pages import ANYONE, SharedPage
from crl_stream.dashboard.web.static_files import StaticFiles
from crl_stream.dashboard.web.stream import Painter, not_live_sentence, send_events, standing
from crl_stream.errors import CrlError, NotFound, UsageError
from crl_stream.explaining.reading import read_explanation
from crl_stream.explaining.why_not import read_why_not
from crl_stream.kafka.policy_history import find_policy, known_policies
from crl_stream.settings import Settings

log = logging.getLogger(__name__)

READ_SECONDS: Final = 20.0
"""How long an answer that is read from Kafka may take."""
ASK_AGAIN_MS: Final = 60_000
POLICY_SECONDS: Final = 3.0
"""How long the page of a rollback waits for the policy that judged it; without it, the page shows no limits."""
POLICIES_KEPT: Final = 32
JSON_END: Final = ".json"

Answer = TypeVar("Answer")
View = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]


class Dashboard:
    """The dashboard of one process; ``add_to`` adds its routes to a web application."""

    def __init__(self, settings: Settings, rules: Rules, doors: Doors, *, environment: str = "") -> None:
        self._settings, self._kafka, self._web = settings, settings.kafka, settings.web
        self.hub = Hub(settings.kafka, lambda: troubles_of(settings))
        self.doors = doors
        self._access = Access(rules, doors)
        self._environment = environment
        self._files = StaticFiles(pages.STATIC)
        self._rows = pages.Rows()
        self._painter = Painter(self._rows.change)
        self._shared = {False: SharedPage(), True: SharedPage()}
        """The page of the fleet, and its parts."""
        self._orders = RateLimit(burst=20, seconds=1.0)
        self._attempts = RateLimit(burst=10, seconds=6.0)
        self._questions = RateLimit(burst=10, seconds=1.0)
        self._reading = asyncio.Semaphore(1)
        self._in_hand: set[asyncio.Task[Any]] = set()
        self._policies: dict[str, PolicySet] = {}
        self._not_found: dict[str, int] = {}
        """The policy that was looked for last, and when, so that pages do not wait for it again and again."""
        self._streams = 0
        """Open streams, and requests for one that wait until the fleet is known."""

    def add_to(self, app: web.Application) -> None:
        """Add every address under ``BASE``; each is there for all methods, so that each refuses in the same way."""
        for path, view, methods in (
            ("/", self._fleet, "GET"),
            ("/fleet.json", self._fleet, "GET"),
            ("/tasks/{agent_name}/{task_type}", self._task, "GET"),
            ("/tasks/{agent_name}/{task_type}/why-not", self._why_not, "GET"),
            ("/tasks/{agent_name}/{task_type}/why-not.json", self._why_not, "GET"),
            ("/rollbacks/{rollback_id}", self._rollback, "GET"),
            ("/explain/{name}", self._explain, "GET"),
            ("/review", self._review, "GET"),
            ("/review.json", self._review, "GET"),
            ("/stream", self._stream, "GET"),
            ("/commands", self._order, "POST"),
            ("/leave", self._leave, "POST"),
        ):
            app.router.add_route("*", BASE + path, self._guarded(self._known(view), methods))
        app.router.add_route("*", BASE, self._guarded(self._to_base, "GET"))
        app.router.add_route("*", BASE + "/enter", self._guarded(self._enter, "GET, POST"))
        app.router.add_route("*", BASE + "/static/{name:.+}", self._guarded(self._static, "GET"))
        app.router.add_route("*", BASE + "/{rest:.*}", self._guarded(self._nothing, "GET"))
        app.on_shutdown.append(self._close)

    async def _close(self, _app: web.Application) -> None:
        await self.close()

    async def close(self) -> None:
        """End all streams, stop reading, and stop waiting for answers; commands that were sent stay sent."""
        for task in self._in_hand:
            task.cancel()
        await self.hub.close()

    # -- what every request must pass ---------------------------------------------------------------
    def _guarded(self, view: Callable[[web.Request], Awaitable[web.StreamResponse]], methods: str) -> Any:
        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                self._access.check_host(request)
                method = "GET" if request.method == "HEAD" else request.method
                if method not in methods.split(", "):
                    raise Refusal(  # noqa: TRY301 - the block below answers every refusal
                        405, "This address does not take that method.", f"it takes {methods}", Allow=methods
                    )
                return await view(request)
            except Refusal as refusal:
                return self._refused(request, refusal)
            except (asyncio.CancelledError, ConnectionResetError):
                raise
            except Exception:
                log.exception("the dashboard failed")
                return self._refused(request, Refusal(500, "The dashboard failed.", "the log of this process says why"))

        return with_own_rules(guarded)

    def _known(self, view: View) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Return the view for people who are known; it gets the caller."""

        async def known(request: web.Request) -> web.StreamResponse:
            guess = f"bearer {_peer(request)}" if "Authorization" in request.headers else ""
            if guess and not self._attempts.has_left(guess):
                raise _too_many(6)
            try:
                caller = self._access.caller(request)
            except Refusal:
                if guess:
                    self._attempts.allows(guess)
                raise
            return await view(request, caller)

        return known

    def _refused(self, request: web.Request, refusal: Refusal) -> web.Response:
        """Return a refusal as a page for people, as JSON for programs; after a refused command, the connection ends."""
        if request.method in {"GET", "HEAD"} and _wants_page(request):
            entering = request.path == BASE + "/enter"  # it needs no cookie, and to ask again would be another guess
            if refusal.status == 401 and not entering and request.headers.get("Sec-Fetch-Site") == "cross-site":
                # A link in a chat or a mail: the browser sends no strict cookie until the page itself asks again.
                response = page(pages.once_more_page(BASE))
            elif refusal.status == 401:
                # Everywhere else the heading of the page says it all.
                refused = f"{refusal.error} {refusal.hint[:1].upper()}{refusal.hint[1:]}." if entering else ""
                html = pages.sign_in_page(BASE, with_token=bool(self._access.rules.token), refused=refused)
                response = page(html, 401)
            else:
                html = pages.trouble_page(BASE, refusal.status, refusal.error, refusal.hint)
                response = page(html, refusal.status, **refusal.headers)
        else:
            response = problem(refusal)
        if request.body_exists and not request.content.at_eof():
            response.force_close()
        return response

    # -- pages --------------------------------------------------------------------------------------
    def _viewer(self, caller: Caller) -> Viewer:
        return Viewer(
            actor=caller.signed,
            may_act=self._web.commands == "on",
            csrf=caller.csrf,
            base=BASE,
            environment=self._environment,
            stamp=self.hub.stamp,
            not_live=not_live_sentence(self.hub),
            notice=self.hub.notice,
        )

    def _extra(self, request: web.Request) -> dict[str, Any]:
        """Return what every page also takes: what is not working, and whether its script asks only for its parts."""
        return {"troubles": self.hub.troubles, "parts": "parts" in request.query}

    async def _followed(self) -> None:
        """Wait until the fleet is known; refuse if it cannot be."""
        if not await self.hub.view():
            trouble = (self.hub.trouble or "the topics are being read").rstrip(".")
            raise Refusal(
                503,
                f"Nothing is known of the fleet yet: {trouble}.",
                "`crl status` and the log of this process say what is wrong",
                **_later(2),
            )

    async def _fleet(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        await self._followed()
        if not _wants_page(request):
            return document(documents.fleet_document(self.hub.fleet, now_ms(), standing(self.hub), self.hub.troubles))
        extra, hub = self._extra(request), self.hub

        def make() -> tuple[str, int]:
            html = pages.fleet_page(hub.fleet, self._viewer(ANYONE), now_ms(), made=self._rows, **extra)
            return html, hub.version

        shared, state = self._shared[extra["parts"]], (hub.id, hub.trouble, hub.troubles, hub.notice)
        return _packed(page(await shared.copy(state, hub.told_at, make, caller)))

    async def _task(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        await self._followed()
        now, fleet, as_page = now_ms(), self.hub.fleet, _wants_page(request)
        agent_name, task_type = request.match_info["agent_name"], request.match_info["task_type"]
        if TaskKey(agent_name, task_type) not in fleet.tasks and task_type.endswith(JSON_END):
            as_page, task_type = False, task_type.removesuffix(JSON_END)
        key = TaskKey(agent_name, task_type)
        if key not in fleet.tasks:
            raise Refusal(404, "There is no such task.", "the page of the fleet lists all tasks")
        if not as_page:
            return document(documents.task_document(fleet, key, now, standing(self.hub)))
        snapshot, extra = fleet.tasks[key], self._extra(request)
        policy = await self._policy_of(key, snapshot.policy_hash, snapshot.timestamp, ask=not extra.get("parts"))
        return _packed(page(pages.task_page(fleet, key, self._viewer(caller), now, policy=policy, **extra)))

    async def _rollback(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        await self._followed()
        now, fleet, as_page, name = now_ms(), self.hub.fleet, _wants_page(request), request.match_info["rollback_id"]
        if name not in fleet.rollbacks and name.endswith(JSON_END):
            as_page, name = False, name.removesuffix(JSON_END)
        if name not in fleet.rollbacks:
            raise Refusal(
                404, "This rollback is not known here.", "crl rollbacks lists all that are still on the topic"
            )
        if not as_page:
            return document(documents.rollback_document(fleet, name, now, standing(self.hub)))
        event = fleet.rollbacks[name]
        policy = await self._policy_of(
            TaskKey(event.agent_name, event.task_type), event.policy_hash, event.timestamp, ask=True
        )
        viewer = self._viewer(caller)
        return _packed(page(pages.rollback_page(fleet, name, viewer, now, policy=policy, **self._extra(request))))

    async def _policy_of(self, key: TaskKey, digest: str, timestamp: str, *, ask: bool) -> Policy | None:
        """Return the policy that judged a task at a time; None if it is not known, or Kafka does not tell it soon.

        Without ``ask``, only what is known already is looked at, because a part of a page must not wait.
        """
        found = known_policies(self._settings, digest) or self._policies.get(digest)
        rested = now_ms() - self._not_found.get(digest, 0) > ASK_AGAIN_MS
        if found is None and ask and rested and not self.hub.trouble:
            self._not_found = {digest: now_ms()}
            with contextlib.suppress(CrlError, TimeoutError):
                async with asyncio.timeout(POLICY_SECONDS), self._reading:
                    command = await find_policy(self._kafka, digest, from_text(timestamp))
                if command is not None:
                    found = self._policies[digest] = command.command.policy
                    while len(self._policies) > POLICIES_KEPT:
                        del self._policies[next(iter(self._policies))]
        return None if found is None else found.for_task(key)

    async def _why_not(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        if "parts" in request.query:
            return page(pages.one_moment("why_not"))
        await self._followed()
        now, fleet = now_ms(), self.hub.fleet
        key = TaskKey(request.match_info["agent_name"], request.match_info["task_type"])
        if key not in fleet.tasks:
            raise Refusal(404, "There is no such task.", "the page of the fleet lists all tasks")
        variant = request.query.get("variant") or None
        found = await self._ask(caller, read_why_not(self._settings, self._kafka, key, now, variant))
        if not _wants_page(request):
            return document(found)
        return _packed(page(pages.why_not_page(fleet, found, self._viewer(caller), now, **self._extra(request))))

    async def _explain(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        if "parts" in request.query:
            return page(pages.one_moment("explain"))
        await self._followed()
        now, name, as_page = now_ms(), request.match_info["name"], _wants_page(request)
        if name.endswith(JSON_END):
            as_page, name = False, name.removesuffix(JSON_END)
        found = await self._ask(caller, read_explanation(self._settings, self._kafka, name))
        if not as_page:
            return document(found)
        return _packed(
            page(pages.explain_page(self.hub.fleet, found, self._viewer(caller), now, **self._extra(request)))
        )

    async def _ask(self, caller: Caller, answer: Coroutine[Any, Any, Answer]) -> Answer:
        """Return an answer that is read from Kafka; one is read at a time, within a limited time."""
        try:
            if not self._questions.allows(caller.signed):
                raise _too_many(1)
            async with asyncio.timeout(READ_SECONDS), self._reading:
                return await answer
        except TimeoutError:
            raise Refusal(503, "Reading the topics took too long.", "the command line waits longer") from None
        except (NotFound, UsageError):  # its message names what was asked for, and answers repeat nothing of a request
            raise Refusal(
                404, "The topics do not have it.", "crl explain and crl why-not say where they looked"
            ) from None
        except CrlError as error:
            raise Refusal(503, error.message, error.hint or "") from None
        finally:
            answer.close()

    async def _review(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        await self._followed()
        now, fleet = now_ms(), self.hub.fleet
        if not _wants_page(request):
            return document(documents.review_document(fleet, now, standing(self.hub)))
        extra = self._extra(request) | {"show": request.query.get("show", "")}
        return _packed(page(pages.review_page(fleet, self._viewer(caller), now, **extra)))

    async def _stream(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        if request.method == "HEAD":
            raise Refusal(405, "This address does not take that method.", "it takes GET", Allow="GET")
        if self._streams >= self._web.streams:
            raise Refusal(503, "Too many pages are open here.", "close one, or raise web.streams", **_later(5))
        about = _task_in(request.query.get("task"))
        still_known = (lambda: now_ms() < caller.until) if caller.until else (lambda: True)
        self._streams += 1
        try:
            await self.hub.view()
            return await send_events(request, self.hub, self._painter, about, still_known)
        finally:
            self._streams -= 1

    async def _static(self, request: web.Request) -> web.StreamResponse:
        return self._files.answer(request, request.match_info["name"])

    async def _to_base(self, _request: web.Request) -> web.StreamResponse:
        return redirect(BASE + "/")

    async def _nothing(self, _request: web.Request) -> web.StreamResponse:
        raise Refusal(404, "There is no such page.", "the page of the fleet links to all others")

    # -- commands -------------------------------------------------------------------------------------
    async def _order(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        self._access.check_order(request, caller)
        if not self._orders.allows(caller.signed):
            raise _too_many(1)
        if self._web.commands != "on":
            raise Refusal(
                403, "This dashboard accepts no commands.", "use the command line; web.commands allows them here"
            )
        order = read_order(await body_of(request))
        await self._followed()
        command = make_command(self.hub.fleet, order, caller.signed, now_ms())
        # The command is carried out even if the person leaves the page before the monitor has answered.
        task = asyncio.create_task(carry_out(self._kafka, command))
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)
        done = await asyncio.shield(task)
        log.info("%s sent %s: %s", caller.signed, type(command).__name__, done.outcome)
        return document(done, 200 if done.outcome == "applied" else 409)

    # -- sessions -----------------------------------------------------------------------------------
    async def _enter(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return await self._sign_in(request)
        self._access.check_opening(request)
        token, guess = request.query.get("token", ""), _guess(request)
        if not self._attempts.has_left(guess):
            raise _too_many(6)
        actor = self.doors.redeem(token, now_ms()) if token else None
        if actor is None:
            if self._access.has_session(request):
                return redirect(BASE + "/")
            if token:
                self._attempts.allows(guess)
            raise Refusal(
                401,
                "This one-time address was already used, or is too old.",
                "`crl dashboard --link` prints another one",
            )
        return self._begin(request, actor)

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        """Begin a session for somebody who has the token of the installation."""
        self._access.check_origin(request)
        if request.content_type != "application/x-www-form-urlencoded":
            raise Refusal(415, "The form was not sent as a form.")
        try:
            form = parse_qs((await body_of(request)).decode("utf-8", "replace"), max_num_fields=10)
        except ValueError:
            raise Refusal(400, "The form has too many fields.") from None
        name, token, guess = form.get("name", [""])[0].strip(), form.get("token", [""])[0], _guess(request)
        if not self._attempts.has_left(guess):
            raise _too_many(6)
        if not self._access.is_token(token):
            self._attempts.allows(guess)
            raise Refusal(401, "The token is missing or wrong.", "it is worker.web_token of the settings")
        if name and not is_actor(name):
            raise Refusal(400, "That name cannot be used.", "letters, digits and . _ : @ + - only")
        return self._begin(request, name or BY_TOKEN)

    def _begin(self, request: web.Request, actor: str) -> web.Response:
        response = redirect(BASE + "/")
        secret = self.doors.begin(actor, now_ms())
        behind_tls = not self._access.rules.is_local and request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(
            self.doors.cookie,
            secret,
            max_age=self.doors.session_seconds,
            path=BASE,
            httponly=True,
            samesite="Strict",
            secure=request.secure or behind_tls,
        )
        return response

    async def _leave(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        self._access.check_order(request, caller)
        self.doors.end(request.cookies.get(self.doors.cookie, ""))
        response = document({"signed_out": True})
        response.del_cookie(self.doors.cookie, path=BASE)
        return response


def _wants_page(request: web.Request) -> bool:
    """Return whether a browser asks; programs ask for JSON by ``Accept``, or by the end of the address."""
    accept = request.headers.get("Accept", "")
    return not request.path.endswith(("/fleet.json", "/review.json", "/why-not.json")) and (
        "text/html" in accept or "application/json" not in accept
    )


def _task_in(text: str | None) -> TaskKey | None:
    if text is None:
        return None
    agent_name, slash, task_type = text.partition("/")
    if not (slash and is_identifier(agent_name) and is_identifier(task_type)):
        raise Refusal(400, "The stream is about no task.", "task=AGENT/TASK")
    return TaskKey(agent_name, task_type)


def _packed(response: web.Response) -> web.Response:
    response.enable_compression()
    return response


def _peer(request: web.Request) -> str:
    return request.remote or ""


def _guess(request: web.Request) -> str:
    """Return whose wrong tokens are counted together.

    What a foreign page makes a browser send is counted apart from what a person opens, so that it locks no person out.
    """
    site = request.headers.get("Sec-Fetch-Site", "")
    way = "form" if request.method == "POST" else "link"
    return f"{way} {site if site in {'none', 'same-origin', *FOREIGN} else 'unknown'} {_peer(request)}"


def _too_many(seconds: int) -> Refusal:
    return Refusal(429, "Too many attempts.", "wait a little", **_later(seconds))


def _later(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}
