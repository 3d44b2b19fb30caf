"""pydantic-ai: a capability that watches the runs of an agent.

    hook = CrlHooks(client, "support", "refunds", default="v1")
    agent = Agent(model, capabilities=[hook])

An agent that is called by a tool belongs to the run, unless it has a hook of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Unpack

from crl_stream.client.invocation import Client
from crl_stream.hooks.watching import Hook, Options, Run, session_of

try:
    from pydantic_ai import DeferredToolRequests
    from pydantic_ai.capabilities import Hooks
except ImportError as error:
    raise ImportError("crl_stream.hooks.pydantic_ai needs pydantic-ai 2: pip install pydantic-ai-slim") from error

_RECOVERED = {"retry-feedback", "retry-prompt"}
"""Kinds of messages that ask the model to try again."""


class CrlHooks(Hook, Hooks):
    """A capability. Pass it in ``Agent(capabilities=[...])``; one object serves any number of concurrent runs.

    It is a pydantic-ai ``Hooks``, so functions of your own can be registered with ``hook.on``.
    """

    def __init__(self, client: Client, agent_name: str, task_type: str, **options: Unpack[Options]) -> None:
        Hooks.__init__(self, run=self._watch)
        Hook.__init__(self, client, agent_name, task_type, **options)

    async def _watch(self, ctx: Any, *, handler: Any) -> Any:
        """Run the agent. This sees every end of a run, even a cancellation, which ``after_run`` does not."""
        run, owns = self.begin(session_of(getattr(ctx, "conversation_id", None))) or (None, False)
        before = self._seen(run, ctx)
        try:
            result = await handler()
        except BaseException as error:
            self._ended(run, ctx, before, error, owns=owns)
            raise
        self._ended(run, ctx, before, None, result, owns=owns)
        return result

    def _seen(self, run: Run | None, ctx: Any) -> tuple[int, int, Any]:
        """Name trace and model, and note the usage so far: an agent may pass on that of other runs."""
        with self.guarded():
            if run is not None:
                run.note_trace(ctx.run_id)
                run.note_model(getattr(ctx.model, "system", None), getattr(ctx.model, "model_name", None))
            usage = ctx.usage
            return usage.input_tokens, usage.output_tokens, getattr(usage, "cost", None) or 0
        return 0, 0, 0

    def _ended(
        self,
        run: Run | None,
        ctx: Any,
        before: tuple[int, int, Any],
        error: BaseException | None,
        result: Any = None,
        *,
        owns: bool,
    ) -> None:
        with self.guarded():
            if run is None:
                return
            if owns:
                self.leave(run)
            with self.guarded():
                _measure(run, ctx.usage, before, [] if error is not None else result.new_messages())
            if not owns:
                if error is not None:
                    run.note_error(error)
            elif error is None and isinstance(result.output, DeferredToolRequests):
                run.abandon()  # it waits for a person or another program; the run that goes on will have the outcome
            elif error is None:
                run.end(result=result)
            elif isinstance(error, asyncio.CancelledError) and _is_late(ctx):
                run.end(TimeoutError("the run did not finish within its timeout"))
            else:
                run.end(error)


def _is_late(ctx: Any) -> bool:
    """Return whether a run has passed the ``timeout`` it was given; the framework then cancels it from inside."""
    deadline = getattr(ctx, "deadline", None)
    return deadline is not None and datetime.now(UTC) >= deadline


def _measure(run: Run, usage: Any, before: tuple[int, int, Any], messages: Sequence[Any]) -> None:
    """Add the usage of a run, and the errors that its model was told of."""
    read, written, cost = before
    run.count_tokens(usage.input_tokens - read, usage.output_tokens - written)
    if (spent := getattr(usage, "cost", None)) is not None:
        run.count_cost(spent - cost)
    for part in (part for message in messages for part in message.parts):
        if part.part_kind in _RECOVERED or getattr(part, "outcome", None) in {"failed", "retried"}:
            run.note_error(f"{getattr(part, 'tool_name', None) or 'the output'} failed")
