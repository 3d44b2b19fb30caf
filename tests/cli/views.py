"""A worker's views as the command line sees them, without a worker."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def a_brief(task_type: str = "api-design", **fields: Any) -> dict[str, Any]:
    """Return a task as ``/api/tasks`` describes it."""
    return {
        "agent_name": "backend-architect",
        "task_type": task_type,
        "active_variant": "default",
        "epoch": 1,
        "q_value": 0.93,
        "verdict": "HEALTHY",
        "judged": 20,
        "successes": 19,
        "n_outcomes": 120,
        "variants": 2,
        "degraded": [],
        "quarantined": [],
        "pinned": False,
        "held": False,
        "no_target": False,
        "timestamp": "2025-11-19T14:30:00.000Z",
        "as_of": {"partition": 0, "offset": 72},
    } | fields


@contextmanager
def serving(
    tasks: list[dict[str, Any]],
    *,
    unreadable: tuple[str, ...] = (),
    views: dict[str, Any] | None = None,
    **pages: dict[str, Any],
) -> Iterator[int]:
    """Run a server with these tasks and one page for each ``task_type`` of the guide's agent; yield its port.

    ``views`` maps paths to other pages.
    """
    bodies = {
        "/api/tasks": json.dumps({"tasks": tasks, "partial": False, "silent": [], "unreadable": unreadable}).encode()
    }
    bodies |= {f"/api/tasks/backend-architect/{name}": json.dumps(page).encode() for name, page in pages.items()}
    bodies |= {path: json.dumps(page).encode() for path, page in (views or {}).items()}

    class Views(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in bodies else 404)
            self.end_headers()
            self.wfile.write(bodies.get(self.path, b"{}"))

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Views)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
