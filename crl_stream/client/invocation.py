"""Publisher and resolver together, and one invocation as a ``with`` block."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
import uuid
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from crl_stream.client.exploration import DEFAULT
from crl_stream.client.health import Health
from crl_stream.client.lifetimes import waits
from crl_stream.client.publisher import Publisher, PublisherStats, name_of
from crl_stream.client.resolver import Resolution, Resolver
from crl_stream.client.setting_up import set_up
from crl_stream.client.troubles import Troubles
from crl_stream.core.messages.inputs import Complexity, Status

if TYPE_CHECKING:
    from pathlib import Path

    from crl_stream.settings.runtime_sections import RuntimeSettings

ENTER_SECONDS: Final = 0.04
"""Seconds that creating and entering a client may take; an agent must not have to wait for an absent Kafka."""

_ENDED_FROM_OUTSIDE: Final = (
    asyncio.CancelledError,
    concurrent.futures.CancelledError,
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
)
_ENDED_ELSEWHERE: Final = frozenset({("trio", "Cancelled"), ("greenlet", "GreenletExit")})
"""Exceptions with which optional libraries end work from outside, as (package, name)."""


def is_abandonment(error: BaseException) -> bool:
    """Return whether an exception means that the work was ended from outside, which says nothing about the variant."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_abandonment, error.exceptions))
    if isinstance(error, _ENDED_FROM_OUTSIDE):
        return True
    return any(
        (str(kind.__module__).partition(".")[0], kind.__name__) in _ENDED_ELSEWHERE for kind in type(error).__mro__
    )


class RunningInvocation:
    """One invocation: its variant and its outcome so far."""

    def __init__(self, resolution: Resolution, invocation_id: str, session_id: str | None = None) -> None:
        self.invocation_id = invocation_id
        self.session_id = session_id
        self.variant_id = resolution.variant_id
        self.epoch = resolution.epoch
        self.source = resolution.source
        self.configuration = resolution.configuration
        """The JSON object with which the variant was registered; None if there is none. Do not change it."""
        self.ref = resolution.ref
        """Where the configuration is kept, such as ``langfuse:refund@12``."""
        self.variant = resolution.variant
        """Everything that is registered about the variant; None if nothing is known about it."""
        self.reward: float | None = None
        self.quality: float | None = None
        self.error_count = 0
        self.complexity: Complexity | None = None
        self.cost: float | None = None
        """What the invocation cost, 0 or more, in one currency per task."""
        self.tokens_input: int | None = None
        self.tokens_output: int | None = None
        self.metrics: dict[str, float] = {}
        """Up to four further numbers to watch, by name."""
        self.trace_id: str | None = None
        """Id of the invocation's trace, so that a decision can be followed back to it."""
        self.evaluator: str | None = None
        """The judge that gave reward and quality, as ``name@version``."""
        self.fields: dict[str, Any] = {}
        """Other fields of the contract: provider, model."""
        self._status: Status | None = None

    @property
    def status(self) -> Status:
        """How the invocation ended; ``success`` by default.

        If the block sets a status, the outcome is published even if a cancellation ends the block.
        """
        return self._status or "success"

    @status.setter
    def status(self, status: Status) -> None:
        self._status = status

    def failed(self) -> None:
        """Record that the invocation ended with a bad result."""
        self._status = "failure"


class Invocation:
    """The ``with`` block of one invocation: it publishes the outcome at the end and lets exceptions through.

    An exception counts as an error of the variant. A cancellation, Ctrl-C, ``SystemExit`` or the closing of a generator
    does not: the invocation counts as abandoned and is not published, unless the block has set a status.
    """

    def __init__(
        self,
        client: Client,
        agent_name: str,
        task_type: str,
        default: str,
        session_id: str | None = None,
        began_with: str | None = None,
    ) -> None:
        self._client, self._agent_name, self._task_type, self._default = client, agent_name, task_type, default
        self._session_id, self._began_with = session_id, began_with
        self._running: RunningInvocation | None = None
        self._started = 0.0

    def __enter__(self) -> RunningInvocation:
        """Choose the variant."""
        invocation_id = uuid.uuid4().hex
        resolution = self._client.resolver.resolve(
            self._agent_name,
            self._task_type,
            self._default,
            invocation_id=invocation_id,
            session_id=self._session_id,
            began_with=self._began_with,
        )
        found = resolution or Resolution(self._default, None, "default", None)
        self._running = RunningInvocation(found, invocation_id, self._session_id)
        self._started = time.monotonic()
        return self._running

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Publish the outcome."""
        running, publisher = self._running, self._client.publisher
        if running is None:
            return False
        if error is not None and not is_abandonment(error):
            running.status = "error"
        if error is not None and running._status is None:  # noqa: SLF001 - the two classes belong together
            publisher.abandon()
            return False
        known: dict[str, Any] = {
            "agent_name": self._agent_name,
            "task_type": self._task_type,
            "variant_id": running.variant_id,
            "status": running.status,
            "invocation_id": running.invocation_id,
            "duration_seconds": time.monotonic() - self._started,
            "active_epoch": running.epoch,
            "variant_source": running.source,
            "error_count": running.error_count,
            "complexity": running.complexity,
            "quality": running.quality,
            "reward": running.reward,
            "session_id": running.session_id,
            "cost": running.cost,
            "tokens_input": running.tokens_input,
            "tokens_output": running.tokens_output,
            "metrics": running.metrics or None,
            "trace_id": running.trace_id,
            "evaluator": running.evaluator,
        }
        try:
            publisher.invocation(**{**running.fields, **known})
        except Exception as wrong:  # unknown fields
            publisher.reject(wrong)
        return False


class Client:
    """Everything that a runtime needs. It never raises into the agent and never blocks it.

    ``settings`` default to those in the environment (``CRL_*``) and in ``file`` or ``CRL_CONFIG``; no file in the
    current folder is read. Bad settings are logged, and the client then returns defaults and sends nothing; with
    ``strict=True`` they raise ``ConfigError``. After a fork, the child has its own connections and ``runtime_id``.
    ``exploration`` overrides the share in the task's policy. ``exploration_policy`` names the policy that chooses which
    variant an exploring invocation tries.
    """

    def __init__(
        self,
        settings: RuntimeSettings | None = None,
        *,
        file: Path | str | None = None,
        runtime_id: str | None = None,
        exploration: float | None = None,
        exploration_policy: str = DEFAULT,
        strict: bool = False,
    ) -> None:
        began = time.monotonic()
        setup = set_up(settings, file=file, strict=strict)
        name_of(runtime_id, setup.settings, strict=strict)  # a bad name must raise before any thread starts
        self._troubles = Troubles()
        setup.say(self._troubles)
        self.resolver = Resolver(
            setup,
            exploration=exploration,
            exploration_policy=exploration_policy,
            strict=strict,
            troubles=self._troubles,
        )
        self.publisher = Publisher(setup, runtime_id=runtime_id, troubles=self._troubles)
        self._patience = max(0.0, ENTER_SECONDS - (time.monotonic() - began))
        """Seconds that entering the client may wait."""
        self._closed = False
        waits(self)

    def __enter__(self) -> Self:
        """Wait at most 50 ms for the active variants, so that the first invocation uses them."""
        self.resolver.wait_until_ready(self._patience)
        return self

    def __exit__(self, *_: object) -> None:
        """Send waiting messages, then close."""
        self.close()

    async def __aenter__(self) -> Self:
        """Enter the client as ``__enter__`` does, but without blocking the event loop."""
        until = time.monotonic() + self._patience
        while not self.resolver.wait_until_ready(0.0) and time.monotonic() < until:  # noqa: ASYNC110 - the event belongs to threads
            await asyncio.sleep(0.005)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Send waiting messages, then close, without blocking the event loop."""
        await asyncio.to_thread(self.close)

    def close(self, timeout: float | None = None) -> PublisherStats:
        """Send waiting messages, then close, within ``timeout`` seconds (default: ``client.close_seconds``)."""
        limit = self.publisher.settings.client.close_seconds if timeout is None else max(0.0, timeout)
        until = time.monotonic() + limit
        self._closed = True
        self.resolver.tell_to_close()
        self.publisher.close(limit * 0.95)
        self.resolver.close(until - time.monotonic())
        self._troubles.close()
        return self.publisher.stats

    def forked(self) -> None:
        """Reset the counters in a forked child."""
        self._troubles.forked()

    def at_exit(self, deadline: float) -> None:
        """Close the client if the program ends without having closed it."""
        if not self._closed:
            self.close(min(self.publisher.settings.client.close_seconds, max(0.0, deadline - time.monotonic())))

    def health(self) -> Health:
        """Return the state of the connections, the counts of sent and lost outcomes, and the last problem."""
        connected, following = self.publisher.connected_since, self.resolver.following_since
        sent, queued, dropped, rejected, abandoned = self.publisher.stats
        return Health(
            runtime_id=self.publisher.runtime_id,
            connected=connected is not None,
            connected_since=connected,
            following=following is not None,
            following_since=following,
            tasks=self.resolver.tasks,
            sent=sent,
            queued=queued,
            dropped=dropped,
            rejected=rejected,
            abandoned=abandoned,
            restarts=self.resolver.restarts,
            trouble=self._troubles.last,
            trouble_at=self._troubles.last_at,
        )

    def invocation(
        self,
        agent_name: str,
        task_type: str,
        *,
        default: str = "default",
        session_id: str | None = None,
        began_with: str | None = None,
    ) -> Invocation:
        """Return a ``with`` block for one invocation; ``default`` is the variant to use while none is known.

        ``session_id`` names the conversation or job, so that all its invocations use the same variant; see
        ``Resolver.resolve``.  ``began_with`` is the variant with which the session began, if you have kept it.
        """
        return Invocation(self, agent_name, task_type, default, session_id, began_with)
