"""The labels of prompts in Langfuse. A label is at one version at most, so giving it to another version moves it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from crl_stream.core.messages.mirrors import PromptStore
from crl_stream.core.mirroring.label import Seen
from crl_stream.mirrors.http import Answer, Requests, basic, said, unreadable
from crl_stream.mirrors.store import VERSION, Refused, names_in
from crl_stream.settings.model import Langfuse


class LangfuseLabels:
    """Reads and moves labels with Langfuse's public API."""

    name: PromptStore = "langfuse"

    def __init__(self, options: Langfuse) -> None:
        self.label = options.label
        auth = basic(options.public_key, options.secret_key.get_secret_value())
        self._requests = Requests(options.host, {"authorization": auth}, options.timeout_seconds)

    async def look(self, prompt: str) -> Seen:
        """Return the version that has the label; the text of the prompt is read with it, and dropped."""
        # Without `resolve`, a prompt that refers to a missing one would be an error.
        query = {"label": self.label, "resolve": "false"}
        answer = await self._requests.ask("GET", _path(prompt), query=query)
        if answer.status == 404 and isinstance(answer.body, dict):
            return Seen(None)
        found = _version_in(answer)
        return Seen(str(found["version"]), names_in(_labels_in(found)))

    async def move(self, prompt: str, version: str) -> None:
        """Give the label to a version; the version keeps its other labels."""
        path = f"{_path(prompt)}/versions/{version}"
        answer = await self._requests.ask("PATCH", path, body={"newLabels": [self.label]})
        if answer.status >= 400:
            raise Refused(said(answer))

    async def close(self) -> None:
        """Close the connections."""
        await self._requests.close()


def _path(prompt: str) -> str:
    # A name may contain slashes, because prompts can be in folders.
    return f"/api/public/v2/prompts/{quote(prompt, safe='')}"


def _version_in(answer: Answer) -> dict[str, Any]:
    body = answer.body
    if answer.status != 200 or not isinstance(body, dict) or not VERSION.fullmatch(repr(body.get("version"))):
        raise unreadable(answer, "a prompt")
    return body


def _labels_in(body: dict[str, Any]) -> list[str]:
    labels = body.get("labels")
    return [label for label in labels if isinstance(label, str)] if isinstance(labels, list) else []
