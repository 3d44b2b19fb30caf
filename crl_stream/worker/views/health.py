"""The health views of a process without task views, for probes and for people who want to know its state."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from crl_stream import __version__
from crl_stream.compiled import is_compiled
from crl_stream.worker.health import Health
from crl_stream.worker.views.gate import make_gate
from crl_stream.worker.views.pages import answer, route


def add_health_views(health: Health) -> None:
    """Put ``/healthz``, ``/readyz``, ``/api/health`` and ``/api/worker`` on the web server of the first member."""
    members = health.members
    first = members[0]
    worker = first.settings.worker
    tells = any("notifier-" in member.group for member in members)
    lacking = first.settings.disabled_notifiers if tells else {}
    disabled = {name: f"{channel.reason}; {channel.hint}" for name, channel in lacking.items()}
    gate = make_gate(worker.web_host, first.url, worker.web_token.get_secret_value())
    first.app.conf.web_application_options = {"middlewares": [gate]}

    async def alive(_request: Any) -> web.Response:
        well = all(member.agents_alive for member in members)
        return answer({"healthy": well}, 200 if well else 503)

    async def ready(_request: Any) -> web.Response:
        found = health.findings()
        waiting = [member.group for member in members if not (member.recovered and member.agents_alive)]
        is_ready = not any(finding.trouble for finding in found)
        body: dict[str, Any] = {
            "ready": is_ready,
            "waiting": waiting,
            "findings": [finding.as_json() for finding in found],
        }
        if disabled:
            body["disabled_notifiers"] = disabled
        return answer(body, 200 if is_ready else 503)

    async def findings(_request: Any) -> web.Response:
        found = [finding.as_json() | {"worker": str(first.url)} for finding in await health.fresh_findings()]
        healthy = not any(finding["trouble"] for finding in found)
        return answer({"healthy": healthy, "findings": found, "silent": []})

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

    for path, view in {"/healthz": alive, "/readyz": ready, "/api/health": findings, "/api/worker": about}.items():
        route(first.app, path, view)
