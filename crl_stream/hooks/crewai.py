"""CrewAI: a listener on its event bus that watches the runs of crews.

    hook = CrlListener(client, "support", "refunds", default="v1", crew="refunds")
    crew.kickoff(inputs={"session_id": "conversation-7"})

Keep the listener as long as the crew. The bus tells every listener about every crew of the process, so name the crew if
there are several. For flows, and for agents without a crew, use ``with hook.invocation(): ...``.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Final, Unpack

from crl_stream.client.invocation import Client
from crl_stream.hooks.watching import Hook, Options, Run, session_of

try:
    from crewai.events import (
        BaseEventListener,
        CrewKickoffCompletedEvent,
        CrewKickoffFailedEvent,
        CrewKickoffStartedEvent,
        LLMCallCompletedEvent,
        LLMCallFailedEvent,
        LLMCallStartedEvent,
        ToolUsageErrorEvent,
        event_context,
    )
except ImportError as error:
    raise ImportError("crl_stream.hooks.crewai needs CrewAI 1: pip install crewai") from error

SESSION_KEYS: Final = ("session_id", "conversation_id", "thread_id")
"""Where a conversation's id is found in the inputs of a crew, the first that is there."""

MOST_RUNS: Final = 1_000
"""Number of crews that run at the same time; if there are more, the oldest runs count as abandoned."""


class CrewFailed(Exception):
    """Stands for the exception that a crew has raised: the event bus has only its text."""


class _Kickoff:
    """One kickoff of a crew, and the run that it reports to."""

    def __init__(self, run: Run, crew: object, *, owns: bool) -> None:
        self.run, self.crew, self.owns = run, id(crew), owns


class CrlListener(Hook, BaseEventListener):
    """A listener. One object serves any number of crews with the same name; without ``crew``, all outermost crews."""

    def __init__(
        self,
        client: Client,
        agent_name: str,
        task_type: str,
        *,
        crew: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        Hook.__init__(self, client, agent_name, task_type, **options)
        self._crew = crew
        self._lock = threading.Lock()
        self._kickoffs: OrderedDict[str, _Kickoff] = OrderedDict()
        """The kickoffs that have not ended, by the id of the event that began them."""
        BaseEventListener.__init__(self)

    def setup_listeners(self, crewai_event_bus: Any) -> None:
        """Register for the events of a run; CrewAI calls this."""
        for kind, handler in (
            (CrewKickoffStartedEvent, self._started),
            (CrewKickoffCompletedEvent, self._completed),
            (CrewKickoffFailedEvent, self._failed),
            (LLMCallStartedEvent, self._calling),
            (LLMCallCompletedEvent, self._called),
            (LLMCallFailedEvent, self._erred),
            (ToolUsageErrorEvent, self._erred),
        ):
            crewai_event_bus.register_handler(kind, handler)

    @property
    def open_run(self) -> Run | None:
        """The run that the calling code is part of.

        CrewAI calls listeners in threads of their own, so the crew's context knows the run only by its event.
        """
        if (block := self.block) is not None:
            return block
        found = self._around()
        return None if found is None else found.run

    def _around(self, without: str = "") -> _Kickoff | None:
        """Return the innermost kickoff that the calling code, or the code that has sent an event, is part of."""
        stack = event_context._event_id_stack.get()  # noqa: SLF001 - CrewAI offers only the innermost event
        found = (self._kickoffs.get(event_id) for event_id, _ in reversed(stack) if event_id != without)
        return next((kickoff for kickoff in found if kickoff is not None and not kickoff.run.ended), None)

    # -- crews -------------------------------------------------------------------------------------
    def _started(self, source: Any, event: Any) -> None:
        """Begin an invocation. CrewAI waits for this, so the variant is known before the crew works."""
        with self.guarded():
            around, block = self._around(event.event_id), self.block
            if around is not None:
                self._remember(event.event_id, _Kickoff(around.run, source, owns=False))
            elif block is not None:
                self._remember(event.event_id, _Kickoff(block, source, owns=False))
            elif self._crew is None or self._crew == event.crew_name:
                self._forget_earlier(source)
                inputs = event.inputs or {}
                session = next((found for key in SESSION_KEYS if (found := session_of(inputs.get(key)))), None)
                run = Run(self, session)
                run.note_trace(event.event_id)
                self._remember(event.event_id, _Kickoff(run, source, owns=True))

    def _remember(self, event_id: str, kickoff: _Kickoff) -> None:
        with self._lock:
            self._kickoffs[event_id] = kickoff
            oldest = self._kickoffs.popitem(last=False)[1] if len(self._kickoffs) > MOST_RUNS else None
        if oldest is not None and oldest.owns:
            oldest.run.abandon()

    def _forget_earlier(self, crew: object) -> None:
        """Abandon the crew's earlier run if it has not ended: CrewAI sends no event when a run is cancelled."""
        with self._lock:
            earlier = [key for key, kickoff in self._kickoffs.items() if kickoff.owns and kickoff.crew == id(crew)]
            kickoffs = [self._kickoffs.pop(key) for key in earlier]
        for kickoff in kickoffs:
            kickoff.run.abandon()

    def _completed(self, _source: Any, event: Any) -> None:
        """Publish the outcome."""
        with self.guarded():
            kickoff = self._ended(event)
            if kickoff is not None and kickoff.owns:
                kickoff.run.end(result=event.output)

    def _failed(self, _source: Any, event: Any) -> None:
        """Publish an error."""
        with self.guarded():
            kickoff = self._ended(event)
            if kickoff is not None and kickoff.owns:
                kickoff.run.end(CrewFailed(event.error))
            elif kickoff is not None:
                kickoff.run.note_error(event.error)

    def _ended(self, event: Any) -> _Kickoff | None:
        with self._lock:
            return self._kickoffs.pop(event.started_event_id, None)

    # -- what happens during a run -----------------------------------------------------------------
    def _calling(self, source: Any, event: Any) -> None:
        """Note the provider and the model."""
        with self.guarded():
            if (run := self.open_run) is not None:
                run.note_model(getattr(source, "provider", None), event.model)

    def _called(self, _source: Any, event: Any) -> None:
        """Count the tokens."""
        with self.guarded():
            if (run := self.open_run) is not None and event.usage:
                usage = event.usage
                run.count_tokens(
                    usage.get("prompt_tokens", usage.get("input_tokens")),
                    usage.get("completion_tokens", usage.get("output_tokens")),
                )

    def _erred(self, _source: Any, event: Any) -> None:
        """Record an error that the crew may recover from."""
        with self.guarded():
            if (run := self.open_run) is not None:
                run.note_error(str(event.error))
