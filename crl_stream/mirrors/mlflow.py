"""The aliases of prompts in MLflow's prompt registry; in its API, a prompt is a registered model with a special tag."""

from __future__ import annotations

from typing import Any, Final

from crl_stream.core.messages.mirrors import PromptStore
from crl_stream.core.mirroring.label import Seen
from crl_stream.mirrors.http import Answer, Requests, basic, said, unreadable
from crl_stream.mirrors.store import VERSION, Refused, names_in
from crl_stream.settings.model import MLflow

_MODELS: Final = "/api/2.0/mlflow/registered-models"
_MARK: Final = "mlflow.prompt.is_prompt"


class MLflowAliases:
    """Reads and moves aliases with MLflow's REST API."""

    name: PromptStore = "mlflow"

    def __init__(self, options: MLflow) -> None:
        self.label = options.alias
        headers = {}
        if token := options.token.get_secret_value():
            headers["authorization"] = f"Bearer {token}"
        elif options.username:
            headers["authorization"] = basic(options.username, options.password.get_secret_value())
        self._requests = Requests(options.host, headers, options.timeout_seconds)

    async def look(self, prompt: str) -> Seen:
        """Return the version that has the alias; raise ``Refused`` if there is a model of that name and no prompt."""
        answer = await self._requests.ask("GET", f"{_MODELS}/get", query={"name": prompt})
        if _is_missing(answer):
            return Seen(None)
        body = answer.body
        model = body.get("registered_model") if isinstance(body, dict) else None
        if answer.status != 200 or not isinstance(model, dict):
            raise unreadable(answer, "a prompt")
        if not any(tag.get("key") == _MARK for tag in _entries(model.get("tags"))):
            raise Refused(f"{prompt} is a registered model and not a prompt")
        aliases = _aliases_in(model.get("aliases", []))
        version = aliases.get(self.label)
        if version is not None and not VERSION.fullmatch(version):
            raise unreadable(answer, "an alias")
        return Seen(version, names_in(name for name, at in aliases.items() if at == version))

    async def move(self, prompt: str, version: str) -> None:
        """Give the alias to a version."""
        body = {"name": prompt, "alias": self.label, "version": version}
        answer = await self._requests.ask("POST", f"{_MODELS}/alias", body=body)
        if answer.status >= 400:
            raise Refused(said(answer))

    async def close(self) -> None:
        """Close the connections."""
        await self._requests.close()


def _is_missing(answer: Answer) -> bool:
    return isinstance(answer.body, dict) and answer.body.get("error_code") == "RESOURCE_DOES_NOT_EXIST"


def _aliases_in(found: object) -> dict[str, str]:
    return {
        entry["alias"]: str(entry["version"])
        for entry in _entries(found)
        if isinstance(entry.get("alias"), str) and entry.get("version")
    }


def _entries(found: object) -> list[dict[str, Any]]:
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
