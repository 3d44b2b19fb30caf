"""The views: what is where, task by task, and whether this worker is well."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from aiohttp import web
from faust.types.tuples import TP

from crl_stream import __version__
from crl_stream.compiled import is_compiled
from crl_stream.core.identity import TaskKey
from crl_stream.topology.inspection import snapshot, summary
from crl_stream.topology.partition import decode_partition
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import INVOCATIONS
from crl_stream.worker.monitor import Monitor
from crl_stream.worker.policy_announcement import has_been_heard, pending_partitions
from crl_stream.worker.views.gate import JSON, make_gate, problem
from crl_stream.worker.views.owners import OWN, Owners

VIEWS: Final = {
    "/api/tasks": "every task in brief, of all workers; partial names the workers that did not answer",
    "/api/tasks/{agent_name}/{task_type}": "one task with windows, Q-values, verdicts and decisions",
    "/api/tasks/{agent_name}/{task_type}/variants": "its variants",
    "/api/tasks/{agent_name}/{task_type}/active": "its active variant and epoch",
    "/api/active": "the active variant of every task",
    "/api/worker": "this worker: partitions, positions, figures",
    "/healthz": "200 while the process works",
    "/readyz": "200 once the worker is recovered, assigned and under its policy",
}
_AT_ONCE: Final = 200
"""Rows that are read before the event loop may do something else."""


def add_views(monitor: Monitor) -> Owners:
    """Put the views on the app's web server; whoever runs it closes what is returned."""
    worker = monitor.settings.worker
    owners = Owners(monitor)
    app = monitor.app
    app.conf.web_application_options = {
        "middlewares": [make_gate(worker.web_host, monitor.url, worker.web_token.get_secret_value())]
    }
    pages = _Pages(monitor, owners)
    for path, view in {
        "/": pages.index,
        "/api/tasks": pages.tasks,
        "/api/active": pages.active,
        "/api/worker": pages.worker,
        "/healthz": pages.health,
        "/readyz": pages.ready,
    }.items():
        route(app, path, view)
    for part in ("", "variants", "active"):
        suffix = f"/{part}" if part else ""
        route(app, f"/api/tasks/{{agent_name}}/{{task_type}}{suffix}", pages.task_view(part))
    return owners


def route(app: Any, path: str, view: Any) -> None:
    """Put ``view`` on an app's web server."""

    async def page(_self: Any, request: Any, **names: str) -> Any:
        return await view(request, **names)

    page.__name__ = f"view_{path.strip('/').replace('/', '_').replace('{', '').replace('}', '') or 'index'}"
    app.page(path, name=page.__name__)(page)


def answer(body: Any, status: int = 200) -> web.Response:
    """A body as JSON."""
    return web.Response(body=encode(body), status=status, content_type=JSON)


class _Pages:
    def __init__(self, monitor: Monitor, owners: Owners) -> None:
        self.monitor, self.owners = monitor, owners
        self._was_under_policy = False

    async def index(self, _request: Any) -> web.Response:
        return answer({"views": VIEWS, "version": __version__})

    async def tasks(self, request: Any) -> web.Response:
        return await self._list(request, "/api/tasks", "tasks", lambda brief: brief)

    async def active(self, request: Any) -> web.Response:
        names = ("agent_name", "task_type", "active_variant", "epoch", "quarantined", "pinned", "held", "as_of")
        return await self._list(request, "/api/active", "active", lambda brief: {name: brief[name] for name in names})

    async def _list(self, request: Any, path: str, name: str, shape: Any) -> web.Response:
        if not self.monitor.recovered:
            return self._recovering()
        found, now = [], _now()
        for number, (partition, _, row) in enumerate(self.monitor.table.tasks()):
            found.append(shape(summary(partition, row, now)))
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
                if self._is_moving():
                    return self._recovering()
        silent: list[str] = []
        if OWN not in request.query:
            bodies, silent = await self.owners.ask_all(path)
            for body in bodies:
                found += body[name]
        found.sort(key=lambda brief: (brief["agent_name"], brief["task_type"]))
        return answer({name: found, "partial": bool(silent), "silent": silent})

    def task_view(self, part: str) -> Any:
        """The view of a task, or of one part of it."""

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
                    "crl status, or GET /api/tasks, lists the tasks there are",
                )
            return answer(_part(snapshot(partition, self.monitor.table.partition_row(partition), row, _now()), part))
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
            progress = monitor.app.consumer.progress(TP(monitor.topics(INVOCATIONS), partition))
            partitions.append(
                {
                    **({} if progress is None else progress._asdict()),
                    "partition": partition,
                    "next_offset": state.next_offset,
                    "incarnation": state.incarnation,
                    "policy_hash": state.policy_hash,
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
            }
        )

    async def health(self, _request: Any) -> web.Response:
        alive = self.monitor.agents_alive
        return answer({"healthy": alive}, 200 if alive else 503)

    async def ready(self, _request: Any) -> web.Response:
        monitor = self.monitor
        settled = monitor.recovered
        waiting = pending_partitions(monitor) if settled else []
        # Another's settings may come into force later; that is to be seen, and makes nobody unready.
        self._was_under_policy |= settled and has_been_heard(monitor)
        body = {
            "ready": settled and monitor.agents_alive and self._was_under_policy,
            "recovered": settled,
            "agents_alive": monitor.agents_alive,
            "policy_pending": waiting,
        }
        return answer(body, 200 if body["ready"] else 503)

    def _is_moving(self) -> bool:
        return not self.monitor.recovered

    def _recovering(self) -> web.Response:
        return problem(503, "This worker is not ready: it recovers, or partitions are moving.", "ask again in a moment")


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
            "as_of": task.as_of,
        }
    return task
