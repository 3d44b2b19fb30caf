"""Health of a process that has no views of tasks: for machines, and for whoever wonders what it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from crl_stream import __version__
from crl_stream.compiled import is_compiled
from crl_stream.worker.member import Member
from crl_stream.worker.views.gate import make_gate
from crl_stream.worker.views.pages import answer, route


def add_health_views(members: Sequence[Member]) -> None:
    """Put ``/healthz``, ``/readyz`` and ``/api/worker`` on the web server of the first member."""
    first = members[0]
    worker = first.settings.worker
    tells = any("notifier-" in member.group for member in members)
    lacking = first.settings.disabled_notifiers if tells else {}
    disabled = {name: f"{channel.reason}; {channel.hint}" for name, channel in lacking.items()}
    gate = make_gate(worker.web_host, first.url, worker.web_token.get_secret_value())
    first.app.conf.web_application_options = {"middlewares": [gate]}

    async def health(_request: Any) -> web.Response:
        alive = all(member.agents_alive for member in members)
        return answer({"healthy": alive}, 200 if alive else 503)

    async def ready(_request: Any) -> web.Response:
        waiting = [member.group for member in members if not (member.recovered and member.agents_alive)]
        body: dict[str, Any] = {"ready": not waiting, "waiting": waiting}
        if disabled:
            body["disabled_notifiers"] = disabled
        return answer(body, 503 if waiting else 200)

    async def about(_request: Any) -> web.Response:
        return answer(
            {
                "version": __version__,
                "compiled": is_compiled(),
                "url": str(first.url),
                "disabled_notifiers": disabled,
                "groups": {
                    member.group: {"ready": member.recovered, "counters": member.counters.as_dict()}
                    for member in members
                },
            }
        )

    for path, view in {"/healthz": health, "/readyz": ready, "/api/worker": about}.items():
        route(first.app, path, view)
