"""Fetches a worker's views over HTTP, from another process."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Final

from crl_stream.core.identity import TaskKey
from crl_stream.errors import NotFound, Unavailable
from crl_stream.settings import Settings
from crl_stream.settings.model import Worker

TIMEOUT_SECONDS: Final = 10.0
_NOT_FOUND: Final = 404


def views_url(settings: Settings) -> str:
    """Return the URL of a worker's views, according to its settings."""
    return base_url(settings.worker)


def base_url(worker: Worker, *, own: bool = False) -> str:
    """Return the URL of a worker with these settings; with ``own``, where it listens rather than its advertised URL."""
    if worker.advertised_url and not own:
        return worker.advertised_url.rstrip("/")
    host = f"[{worker.web_host}]" if ":" in worker.web_host else worker.web_host
    return f"http://{host}:{worker.web_port}"


def ask(settings: Settings, path: str, timeout: float = TIMEOUT_SECONDS) -> Any:
    """Return the JSON of a view; raises ``NotFound`` or ``Unavailable``; ``timeout`` is in seconds."""
    url = views_url(settings) + path
    request = urllib.request.Request(url)  # noqa: S310 - http or https, from the settings
    if token := settings.worker.web_token.get_secret_value():
        request.add_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        try:
            said = json.load(error)
        except ValueError:
            said = {}
        kind = NotFound if error.code == _NOT_FOUND else Unavailable
        raise kind(said.get("error", f"{url} answered {error.code}."), hint=said.get("hint")) from error
    except TimeoutError as error:
        raise Unavailable(
            f"The worker at {views_url(settings)} did not answer within {timeout:.0f} s.",
            hint="it may be busy or hung; check its log",
        ) from error
    except (OSError, ValueError) as error:
        if isinstance(getattr(error, "reason", None), TimeoutError):
            hint = "check that worker.web_host is reachable from here, and that the worker is running (see its log)"
            raise Unavailable(
                f"{views_url(settings)} did not accept a connection within {timeout:.0f} s.", hint=hint
            ) from error
        raise Unavailable(
            f"No worker answers at {views_url(settings)}.",
            hint="`crl up` starts everything and `crl worker` only a worker; worker.web_port is the port of its views",
        ) from error


def task_path(key: TaskKey) -> str:
    """Return the path of one task's view."""
    return f"/api/tasks/{urllib.parse.quote(key.agent_name)}/{urllib.parse.quote(key.task_type)}"
