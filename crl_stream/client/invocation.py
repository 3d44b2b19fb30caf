"""Publisher and resolver together, and one invocation as a ``with`` block."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from crl_stream.client.publisher import Publisher
from crl_stream.client.resolver import Resolution, Resolver
from crl_stream.core.messages.inputs import Complexity, Status
from crl_stream.settings import Settings, load_settings

log = logging.getLogger(__name__)


class RunningInvocation:
    """One invocation: which variant it uses, and what came of it so far."""

    def __init__(self, resolution: Resolution) -> None:
        self.invocation_id = uuid.uuid4().hex
        self.variant_id = resolution.variant_id
        self.epoch = resolution.epoch
        self.source = resolution.source
        self.configuration = resolution.configuration
        self.status: Status = "success"
        self.reward: float | None = None
        self.quality: float | None = None
        self.error_count = 0
        self.complexity: Complexity | None = None
        self.fields: dict[str, Any] = {}
        """Further fields of the contract: provider, model."""

    def failed(self) -> None:
        """It ended, and the result is no good."""
        self.status = "failure"


class Client:
    """All that a runtime needs.  ``settings`` default to those of this machine (``crl.toml``, ``CRL_*``)."""

    def __init__(
        self, settings: Settings | None = None, *, runtime_id: str | None = None, exploration: float | None = None
    ) -> None:
        settings = settings or load_settings()
        self.resolver = Resolver(settings, exploration=exploration)
        self.publisher = Publisher(settings, runtime_id=runtime_id)

    def __enter__(self) -> Self:
        """Wait a moment for what is known already, so that the first invocation uses it."""
        self.resolver.wait_until_ready(5.0)
        return self

    def __exit__(self, *_: object) -> None:
        """Send what waits, then close."""
        self.close()

    def close(self) -> None:
        """Send what waits, then close."""
        self.publisher.close()
        self.resolver.close()

    @contextmanager
    def invocation(self, agent_name: str, task_type: str, *, default: str = "default") -> Iterator[RunningInvocation]:
        """Run one invocation: its outcome is published at the end, an exception counts as an error and goes on."""
        resolution = self.resolver.resolve(agent_name, task_type, default)
        running = RunningInvocation(resolution or Resolution(default, None, "default", None))
        started = time.monotonic()
        try:
            yield running
        except BaseException:
            running.status = "error"
            raise
        finally:
            known: dict[str, Any] = {
                "agent_name": agent_name,
                "task_type": task_type,
                "variant_id": running.variant_id,
                "status": running.status,
                "invocation_id": running.invocation_id,
                "duration_seconds": time.monotonic() - started,
                "active_epoch": running.epoch,
                "variant_source": running.source,
                "error_count": running.error_count,
                "complexity": running.complexity,
                "quality": running.quality,
                "reward": running.reward,
            }
            self.publisher.invocation(**{**running.fields, **known})
