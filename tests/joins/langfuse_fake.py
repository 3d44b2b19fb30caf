"""Langfuse's prompt API in memory, because its server needs four databases.

The shapes are those of the package's own generated API models (``langfuse.api.prompts.types`` and
``langfuse.api.prompt_version``).  ``test_mirror_langfuse`` proves it: the package's real client creates, reads and
moves labels here, and parses every answer strictly with those models.
"""

from __future__ import annotations

import asyncio
import json
import os
from base64 import b64encode
from collections import defaultdict
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

from aiohttp import web

from joins.environments import python_of

PUBLIC, SECRET = "pk-lf-test", "sk-lf-test-0123456789"
_PERSON = """
import json, sys
from langfuse import Langfuse
from langfuse.api.core.api_error import ApiError
host, public, secret = sys.argv[1:4]
langfuse = Langfuse(public_key=public, secret_key=secret, base_url=host, tracing_enabled=False)
for name, arguments in json.loads(sys.argv[4]):
    call = langfuse.api.prompts.get if name == "api_get" else getattr(langfuse, name)
    try:
        done = call(**arguments)
    except ApiError as error:
        print(json.dumps({"status": error.status_code}))
        continue
    print(json.dumps({"type": type(done).__name__, "version": done.version, "labels": done.labels}))
"""


class LangfuseFake:
    """The prompts of one project; labels are unique across the versions of a prompt."""

    def __init__(self) -> None:
        self.prompts: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.moves = 0
        self.requests: list[tuple[str, str]] = []
        """Method and raw path of each request."""
        self.failing = 0
        """The status with which every request is answered; 0 for none."""
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/api/public/v2/prompts", self._create)
        app.router.add_route("*", "/api/public/v2/prompts/{rest:.+}", self._one)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def _refusal(self, request: web.Request) -> web.Response | None:
        self.requests.append((request.method, request.raw_path))
        if self.failing:
            return web.json_response({"message": "out of order"}, status=self.failing)
        if request.headers.get("authorization") != "Basic " + b64encode(f"{PUBLIC}:{SECRET}".encode()).decode():
            return web.json_response({"message": "Invalid credentials"}, status=401)
        return None

    async def _create(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        asked = await request.json()
        versions = self.prompts[asked["name"]]
        made = {
            "type": asked.get("type") or "text",
            "name": asked["name"],
            "version": len(versions) + 1,
            "prompt": asked["prompt"],
            "config": asked.get("config") or {},
            "labels": [],
            "tags": asked.get("tags") or [],
            "commitMessage": asked.get("commitMessage"),
            "resolutionGraph": None,
        }
        versions.append(made)
        self._give(versions, made, ["latest", *(asked.get("labels") or [])])
        return web.json_response(made, status=201)

    async def _one(self, request: web.Request) -> web.Response:
        """Answer a request about one prompt, whose name is one segment of the path however many slashes it has."""
        if (refusal := self._refusal(request)) is not None:
            return refusal
        name, *rest = request.raw_path.split("?")[0].removeprefix("/api/public/v2/prompts/").split("/")
        versions = self.prompts.get(unquote(name), [])
        if request.method == "PATCH" and len(rest) == 2 and rest[0] == "versions":
            asked = await request.json()
            found = next((one for one in versions if one["version"] == int(rest[1])), None)
            if found is None:
                return self._missing()
            if "latest" in asked["newLabels"]:
                return web.json_response({"message": "The 'latest' label is reserved"}, status=400)
            self.moves += 1
            self._give(versions, found, asked["newLabels"])
            return web.json_response(found)
        if request.method != "GET" or rest:
            return web.json_response({"message": "Method not allowed"}, status=405)
        label, version = request.query.get("label"), request.query.get("version")
        wanted = [one for one in versions if (version and one["version"] == int(version)) or label in one["labels"]]
        return web.json_response(wanted[0]) if wanted else self._missing()

    @staticmethod
    def _missing() -> web.Response:
        return web.json_response({"message": "Prompt not found", "error": "LangfuseNotFoundError"}, status=404)

    @staticmethod
    def _give(versions: list[dict[str, Any]], found: dict[str, Any], labels: list[str]) -> None:
        for one in versions:
            one["labels"] = [label for label in one["labels"] if label not in labels]
        found["labels"] = [*found["labels"], *labels]

    async def client(self, folder: Path, *calls: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """Call methods of the real client in a process of its own; return what each answer has been parsed to."""
        words = (python_of("mirrors"), "-c", _PERSON, self.url, PUBLIC, SECRET, json.dumps(calls))
        process = await asyncio.create_subprocess_exec(
            *words,
            cwd=folder,
            env={**os.environ, "HOME": str(folder)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()[-2_000:]
        return [json.loads(line) for line in out.splitlines()]
