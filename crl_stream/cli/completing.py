"""Names for shell completion, found quickly or not at all; completion must never show an error."""

from __future__ import annotations

import json
import urllib.request
from typing import Any, Final

from crl_stream.core.identity import is_identifier

TIMEOUT_SECONDS: Final = 0.5
"""Seconds that completion may take after the Tab key."""


def complete_task(incomplete: str) -> list[str]:
    """Return the tasks that start with this text, as a running worker lists them."""
    return sorted(name for name in _tasks() if name.startswith(incomplete))


def complete_variant(ctx: Any, incomplete: str) -> list[str]:
    """Return the variants of the task that is already on the command line."""
    task = ctx.params.get("task")
    if not isinstance(task, str) or "/" not in task:
        return []
    agent_name, _, task_type = task.partition("/")
    page = _ask(f"/api/tasks/{agent_name}/{task_type}/variants")
    variants = page.get("variants", []) if isinstance(page, dict) else []
    names = [str(variant.get("variant_id", "")) for variant in variants if isinstance(variant, dict)]
    return sorted(name for name in names if name.startswith(incomplete) and is_identifier(name))


def _tasks() -> list[str]:
    page = _ask("/api/tasks")
    tasks = page.get("tasks", []) if isinstance(page, dict) else []
    named = [(str(task["agent_name"]), str(task["task_type"])) for task in tasks if isinstance(task, dict)]
    # Completed text goes into the shell's command line, so only valid identifiers are offered.
    return [f"{agent}/{kind}" for agent, kind in named if is_identifier(agent) and is_identifier(kind)]


def _ask(path: str) -> Any:
    try:
        from crl_stream.settings import load_settings
        from crl_stream.worker_views import views_url

        settings = load_settings()
        request = urllib.request.Request(views_url(settings) + path)  # noqa: S310 - from the settings
        if token := settings.worker.web_token.get_secret_value():
            request.add_header("Authorization", f"Bearer {token}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            return json.load(response)
    except Exception:
        return None  # On any error there are no names, so the shell completes nothing.
