"""The views of tasks, partitions, and the health of this worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from aiohttp import web
from faust.types.tuples import TP

from crl_stream import __version__
from crl_stream.compiled import is_compiled
from crl_stream.core.drills import DRILL_AGENT
from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor.row import StandingOrder
from crl_stream.core.policy import PolicySet
from crl_stream.stages.inspection import drill_standing, fleet_hold, snapshot, standing_fleet, summary
from crl_stream.stages.partition import decode_partition
from crl_stream.stages.topology import MONITOR
from crl_stream.wire.codec import encode
from crl_stream.wire.drill_tasks import drill_tasks
from crl_stream.wire.partitioner import partition_of
from crl_stream.worker.dashboard_relay import Relay
from crl_stream.worker.health import Health
from crl_stream.worker.monitor import Monitor
from crl_stream.worker.policy_announcement import pending_partitions, policy_of
from crl_stream.worker.summaries import ASKED_SECONDS, of_peers
from crl_stream.worker.views.gate import JSON, make_gate, problem
from crl_stream.worker.views.owners import OWN, Owners

VIEWS: Final = {
    "/api/tasks": "every task except drills; silent: workers that did not respond; unreadable: tasks with broken rows",
    "/api/summary": "the fleet in numbers, tasks that need attention, and drills; unread: tasks not counted yet",
    "/api/tasks/{agent_name}/{task_type}": "one task with windows, Q-values, verdicts and decisions",
    "/api/tasks/{agent_name}/{task_type}/variants": "the task's variants",
    "/api/tasks/{agent_name}/{task_type}/active": "the task's active variant and epoch",
    "/api/active": "the active variant of every task",
    "/api/worker": "this worker: its partitions, positions and figures",
    "/api/health": "the workers' problems by name: when each began, and what to do",
    "/dashboard/": "the dashboard for browsers; crl dashboard --link prints an address that opens it",
    "/healthz": "200 while the process is running",
    "/readyz": "200 while the worker is working properly, otherwise 503 with findings that say why",
}
UNREADABLE_ACTION: Final = (
    "no worker wrote this task's record in the tasks changelog. Its outcomes become dead letters until a worker starts "
    "without that record, so stop the workers, write a tombstone for its key, restart them, and replay the letters"
)
_DRILLS: Final = f"{DRILL_AGENT}/".encode()
_AT_ONCE: Final = 200
"""How many rows are read before the event loop gets a turn."""


def add_views(monitor: Monitor, health: Health) -> Owners:
    """Add the views to the app's web server; the caller must close the returned ``Owners``."""
    worker = monitor.settings.worker
    owners = Owners(monitor)
    app = monitor.app
    app.conf.web_application_options = {
        "middlewares": [make_gate(worker.web_host, monitor.url, worker.web_token.get_secret_value())]
    }
    pages = _Pages(monitor, owners, health)
    for path, view in {
        "/": pages.index,
        "/api/tasks": pages.tasks,
        "/api/summary": pages.summary,
        "/api/active": pages.active,
        "/api/worker": pages.worker,
        "/api/health": pages.findings,
        "/healthz": pages.alive,
        "/readyz": pages.ready,
    }.items():
        route(app, path, view)
    for part in ("", "variants", "active"):
        suffix = f"/{part}" if part else ""
        route(app, f"/api/tasks/{{agent_name}}/{{task_type}}{suffix}", pages.task_view(part))
    Relay(monitor.settings, worker.web_host, monitor.url).add_to(app.web.web_app)
    return owners


def route(app: Any, path: str, view: Any) -> None:
    """Add ``view`` to an app's web server."""

    async def page(_self: Any, request: Any, **names: str) -> Any:
        return await view(request, **names)

    page.__name__ = f"view_{path.strip('/').replace('/', '_').replace('{', '').replace('}', '') or 'index'}"
    app.page(path, name=page.__name__)(page)


def answer(body: Any, status: int = 200) -> web.Response:
    """Return a body as a JSON response."""
    return web.Response(body=encode(body), status=status, content_type=JSON)


class _Pages:
    def __init__(self, monitor: Monitor, owners: Owners, health: Health) -> None:
        self.monitor, self.owners, self.health = monitor, owners, health

    async def index(self, _request: Any) -> web.Response:
        return answer({"views": VIEWS, "version": __version__})

    async def tasks(self, request: Any) -> web.Response:
        return await self._list(request, "/api/tasks", "tasks", lambda brief: brief)

    async def active(self, request: Any) -> web.Response:
        names = ["agent_name", "task_type", "active_variant", "epoch", "quarantined", "pinned", "held", "fleet_held"]
        names += ["fleet_stops", "mode", "no_rollback", "as_of"]
        return await self._list(request, "/api/active", "active", lambda brief: {name: brief[name] for name in names})

    async def summary(self, request: Any) -> web.Response:
        """Respond within a limited time, however many tasks there are; rows not read by then are counted as unread."""
        monitor, now = self.monitor, _now()
        if not monitor.recovered:
            return self._recovering()
        await monitor.summaries.look(ASKED_SECONDS)
        seen, states = monitor.summaries.seen(), self._states(now)
        if self._is_moving():
            return self._recovering()
        briefs = []
        for rank, partition, key in seen.listed:
            row = monitor.table.rows(partition).get(key)
            if row is not None and partition in states:
                briefs.append((rank, summary(partition, row, now, *states[partition])))
        held = sum(fleet is not None for _, fleet in states.values())
        own: dict[str, Any] = {
            "summary": seen.sums | {"partitions": len(states), "partitions_held": held},
            "unread": seen.unread,
            "behind": seen.behind,
            "tasks": [brief for _, brief in briefs],
            "ranks": [rank for rank, _ in briefs],
            "unreadable": seen.unreadable,
            "drills": self._drills(states, now),
        }
        bodies, silent = ([], []) if OWN in request.query else await self.owners.ask_all("/api/summary")
        return answer(of_peers(own, bodies, silent))

    def _drills(self, partitions: Iterable[int], now: int) -> list[dict[str, Any]]:
        """Return the last drill on each of this worker's drill tasks."""
        table, width = self.monitor.table, self.monitor.settings.kafka.partitions
        found = []
        for tasks in (drill_tasks(width), drill_tasks(width, notify=True)):
            for partition in partitions:
                row = table.rows(partition).get(tasks[partition].encode())
                drill = None if row is None else drill_standing(partition, row, now)
                found += [] if drill is None else [drill]
        return found

    def _states(self, now: int) -> dict[int, tuple[PolicySet, StandingOrder | None]]:
        """Return the policies and the current fleet hold of each partition."""
        table = self.monitor.table
        states = {p: decode_partition(table.partition_row(p)) for p in table.store.partitions()}
        return {p: (state.policies, standing_fleet(state.fleet, now)) for p, state in states.items()}

    async def _list(self, request: Any, path: str, name: str, shape: Any) -> web.Response:
        if not self.monitor.recovered:
            return self._recovering()
        found, now, table = [], _now(), self.monitor.table
        of = self._states(now)
        unreadable: list[str] = []
        for number, (partition, key, row) in enumerate(table.tasks()):
            try:
                if not key.startswith(_DRILLS):
                    found.append(shape(summary(partition, row, now, *of[partition])))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                unreadable.append(key.decode("utf-8", "replace"))
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
                if self._is_moving():
                    return self._recovering()
        silent: list[str] = []
        if OWN not in request.query:
            bodies, silent = await self.owners.ask_all(path)
            for body in bodies:
                found += body[name]
                unreadable += body.get("unreadable", [])  # workers of earlier versions do not send this field
        found.sort(key=lambda brief: (brief["agent_name"], brief["task_type"]))
        return answer({name: found, "partial": bool(silent), "silent": silent, "unreadable": sorted(set(unreadable))})

    def task_view(self, part: str) -> Any:
        """Make the view of a task, or of one part of it."""

        async def view(request: Any, agent_name: str, task_type: str) -> web.Response:
            return await self._task(request, agent_name, task_type, part)

        return view

    async def _task(self, request: Any, agent_name: str, task_type: str, part: str) -> web.Response:
        key = TaskKey(agent_name, task_type).encode()
        partition = partition_of(key, self.monitor.settings.kafka.partitions)
        if not self.monitor.recovered:
            return self._recovering()
        if self.owners.is_mine(partition):
            row = self.monitor.table.rows(partition).get(key)
            if row is None:
                return problem(
                    404,
                    f"Nothing is known of {agent_name}/{task_type}.",
                    "crl status, or GET /api/tasks, lists all tasks",
                )
            try:
                task = snapshot(partition, self.monitor.table.partition_row(partition), row, _now())
            except (msgspec.MsgspecError, UnicodeDecodeError):
                return problem(500, f"The row of {agent_name}/{task_type} cannot be read.", UNREADABLE_ACTION)
            return answer(_part(task, part))
        url = self.owners.owner_of(partition)
        if url is None or OWN in request.query:
            return problem(503, f"Partition {partition} has no owner right now.", "ask again in a moment", owner=url)
        said = await self.owners.ask(url, request.path)
        if said is None:
            return problem(503, f"The owner of {agent_name}/{task_type} does not answer.", f"ask {url}", owner=url)
        return answer(said.body, said.status)

    async def worker(self, _request: Any) -> web.Response:
        monitor = self.monitor
        partitions = []
        for partition in sorted({tp.partition for tp in monitor.app.consumer.assignment()}):
            state = decode_partition(monitor.table.partition_row(partition))
            progress = monitor.app.consumer.progress(TP(monitor.topics(MONITOR.source), partition))
            partitions.append(
                {
                    **({} if progress is None else progress._asdict()),
                    "partition": partition,
                    "next_offset": state.next_offset,
                    "incarnation": state.incarnation,
                    "policy_hash": state.policy_hash,
                    "fleet_held": fleet_hold(state.fleet, _now()),
                }
            )
        return answer(
            {
                "app_id": monitor.settings.worker.app_id,
                "version": __version__,
                "compiled": is_compiled(),
                "url": str(monitor.url),
                "ready": monitor.recovered,
                "partitions": partitions,
                "peers": self.owners.peers(),
                "counters": monitor.counters.as_dict(),
                "policy_hash": monitor.settings.policies.digest(),
                "policy": policy_of(monitor),
            }
        )

    async def alive(self, _request: Any) -> web.Response:
        alive = self.monitor.agents_alive
        return answer({"healthy": alive}, 200 if alive else 503)

    async def ready(self, _request: Any) -> web.Response:
        monitor = self.monitor
        settled = monitor.recovered
        found = self.health.findings()
        body = {
            "ready": not any(finding.trouble for finding in found),
            "recovered": settled,
            "agents_alive": monitor.agents_alive,
            "policy_pending": pending_partitions(monitor) if settled else [],
            "findings": [finding.as_json() for finding in found],
        }
        return answer(body, 200 if body["ready"] else 503)

    async def findings(self, request: Any) -> web.Response:
        url = str(self.monitor.url)
        asking = None if OWN in request.query else asyncio.create_task(self.owners.ask_all("/api/health"))
        found = [finding.as_json() | {"worker": url} for finding in await self.health.fresh_findings()]
        silent: list[str] = []
        if asking is not None:
            bodies, silent = await asking
            found += [finding for body in bodies for finding in body["findings"]]
        healthy = not silent and not any(finding["trouble"] for finding in found)
        return answer({"healthy": healthy, "findings": found, "silent": silent})

    def _is_moving(self) -> bool:
        return not self.monitor.recovered

    def _recovering(self) -> web.Response:
        return problem(503, "Not ready: this worker is recovering, or partitions are moving.", "ask again in a moment")


def _now() -> int:
    return time.time_ns() // 1_000_000


def _part(task: Any, part: str) -> Any:
    if part == "variants":
        return {"variants": task.variants, "as_of": task.as_of}
    if part == "active":
        return {
            "agent_name": task.agent_name,
            "task_type": task.task_type,
            "active_variant": task.active_variant,
            "epoch": task.epoch,
            "pinned": task.pinned,
            "held": task.held,
            "fleet_held": task.fleet_held,
            "mode": task.mode,
            "no_rollback": task.no_rollback,
            "as_of": task.as_of,
        }
    return task
