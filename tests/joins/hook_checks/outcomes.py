"""A real client without Kafka, and what it has queued: each outcome as the JSON object that Kafka would get."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from crl_stream.client import Client
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.settings import load_settings

EXAMPLES = Path(__file__).resolve().parents[3] / "topics" / "examples"
AGENT, TASK = "support", "refunds"


class Recorder:
    """A client, and the outcomes that it has accepted."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @property
    def outcomes(self) -> list[dict[str, Any]]:
        """Return the queued outcomes in order; fields that were left out have their default."""
        records = (json.loads(item.value) for item in list(self.client.publisher._outbox._waiting))
        return [{"error_count": 0} | record for record in records]

    @property
    def outcome(self) -> dict[str, Any]:
        """Return the only outcome."""
        [found] = self.outcomes
        return found

    @property
    def abandoned(self) -> int:
        return self.client.publisher.stats.abandoned

    @property
    def trouble(self) -> str:
        """Return everything that the client has logged."""
        return "\n".join(kind.text for kind in list(self.client.publisher.troubles._kinds.values()))

    def activate(self, variant_id: str, configuration: dict[str, Any], **fields: Any) -> None:
        """Make a variant with a configuration the active one, epoch 7, as if Kafka had said so."""
        named = {"agent_name": AGENT, "task_type": TASK}
        active = msgspec.json.decode((EXAMPLES / "crl.active-variants" / "ActiveVariant.json").read_bytes())
        active |= named | {"variant_id": variant_id, "epoch": 7, "exploration": 0.0, "quarantined": []} | fields
        variant = {"variant_id": variant_id, "state": "registered", "quarantined": False}
        known = msgspec.json.decode((EXAMPLES / "crl.variants" / "VariantCatalogue.json").read_bytes())
        known |= named | {"variants": [variant | {"configuration": configuration}]}
        resolver, key = self.client.resolver, TaskKey(AGENT, TASK)
        resolver._active[key] = msgspec.convert(active, m.ActiveVariant)
        resolver._known[key] = msgspec.convert(known, m.VariantCatalogue)


@contextmanager
def recorded() -> Iterator[Recorder]:
    """Provide a client whose Kafka does not answer, so that everything stays in its queue."""
    with TemporaryDirectory() as folder:
        flags = {"kafka.bootstrap_servers": "127.0.0.1:1", "client.cache_dir": folder}
        client = Client(load_settings(environment={}, flags=flags), exploration=0.0, runtime_id="tested")
        try:
            yield Recorder(client)
        finally:
            client.close(0.05)
