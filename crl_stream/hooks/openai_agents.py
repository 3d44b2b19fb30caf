"""The OpenAI Agents SDK: runs agents as ``Runner`` does, and watches each run.

    hook = CrlRunner(client, "support", "refunds", default="v1")
    result = await hook.run(agent, question, session=session)  # instead of Runner.run

The SDK's own hooks are not told of errors, so the run is wrapped. Handoffs and agents used as tools belong to the run.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Literal, Self, Unpack

from crl_stream.client.invocation import Client
from crl_stream.hooks.watching import NO_RESULT, Hook, Options, Run, innermost_run, session_of

try:
    from agents import (
        InputGuardrailTripwireTriggered,
        OutputGuardrailTripwireTriggered,
        RunHooks,
        Runner,
        add_trace_processor,
        get_current_trace,
    )
    from agents.lifecycle import RunHooksBase
    from agents.models import get_default_model
    from agents.tracing import TracingProcessor
except ImportError as error:
    raise ImportError(
        "crl_stream.hooks.openai_agents needs the OpenAI Agents SDK: pip install openai-agents"
    ) from error

_FATAL: Final = "Error running tool"
"""What the SDK writes into the span of a tool whose error ends the run; other texts are errors the model sees."""


class CrlRunner(Hook):
    """Runs agents. One object serves any number of concurrent runs."""

    def __init__(self, client: Client, agent_name: str, task_type: str, **options: Unpack[Options]) -> None:
        super().__init__(client, agent_name, task_type, **options)
        with self.guarded():
            _see_tool_errors()

    async def run(self, starting_agent: Any, input: Any, **options: Any) -> Any:  # noqa: A002 - the SDK's name
        """Do what ``Runner.run`` does, with the same arguments, as one invocation."""
        with self._watch(options) as watch:
            result = await Runner.run(starting_agent, input, **options)
        watch.end(None, result)
        return result

    def run_sync(self, starting_agent: Any, input: Any, **options: Any) -> Any:  # noqa: A002 - the SDK's name
        """Do what ``Runner.run_sync`` does, with the same arguments, as one invocation."""
        with self._watch(options) as watch:
            result = Runner.run_sync(starting_agent, input, **options)
        watch.end(None, result)
        return result

    def run_streamed(self, starting_agent: Any, input: Any, **options: Any) -> Any:  # noqa: A002 - the SDK's name
        """Do what ``Runner.run_streamed`` does, with the same arguments; the invocation ends with the run.

        Inside the loop over the events, ``current`` is None: ask the agent's tools and instructions instead.
        """
        with self._watch(options) as watch:
            result = Runner.run_streamed(starting_agent, input, **options)
        with self.guarded():
            watch.leave()
            result.run_loop_task.add_done_callback(partial(watch.stream_ended, result))
        return result

    def _watch(self, options: dict[str, Any]) -> _Watch:
        """Begin an invocation and let the SDK tell it about the run."""
        config, session = options.get("run_config"), options.get("session")
        conversation = (
            session_of(getattr(session, "session_id", None))
            or session_of(options.get("conversation_id"))
            or session_of(_setting(config, "group_id"))
        )
        run, owns = self.begin(conversation) or (None, False)
        watch = _Watch(self, run, _setting(config, "model"), options.get("hooks"), owns=owns)
        if options.get("hooks") is None or isinstance(options["hooks"], RunHooksBase):
            options["hooks"] = watch  # other objects are left to the SDK, which explains what is wrong with them
        return watch


class _Watch(RunHooks):
    """Hears of one run, and passes everything on to the agent's own hooks."""

    def __init__(self, hook: CrlRunner, run: Run | None, model: Any, inner: Any, *, owns: bool) -> None:
        self._hook, self._run, self._owns, self._model = hook, run, owns, model
        self._inner = inner if isinstance(inner, RunHooksBase) else RunHooks()
        for name in dir(RunHooksBase):  # also those that a later version of the SDK adds
            if name.startswith("on_") and name not in vars(_Watch):
                setattr(self, name, getattr(self._inner, name))
        self._usage: Any = None
        self._before = (0, 0)

    # -- the end of the run ------------------------------------------------------------------------
    def __enter__(self) -> Self:
        """Return the watch, around the call of the SDK."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> Literal[False]:
        """Report what the SDK has raised, and let it through."""
        if error is not None:
            self.end(error)
        return False

    def leave(self) -> None:
        """End the run in the caller's context; the tasks of a stream have a context of their own."""
        if self._run is not None and self._owns:
            self._hook.leave(self._run)

    def end(self, error: BaseException | None, result: Any = NO_RESULT) -> None:
        """Report how the run ended."""
        with self._hook.guarded():
            if (run := self._run) is None:
                return
            self.leave()
            with self._hook.guarded():
                if self._usage is not None:
                    read, written = self._before
                    run.count_tokens(self._usage.input_tokens - read, self._usage.output_tokens - written)
            if not self._owns:
                if error is not None:
                    run.note_error(error)
            elif isinstance(error, InputGuardrailTripwireTriggered) or getattr(result, "interruptions", None):
                run.abandon()  # the input was refused, or the run waits for a person
            elif isinstance(error, OutputGuardrailTripwireTriggered):
                run.end(status="failure")
            else:
                run.end(error, result=result)

    def stream_ended(self, result: Any, task: asyncio.Task[Any]) -> None:
        """Report how the run of a stream ended, when its task is done."""
        with self._hook.guarded():
            if task.cancelled():  # by the reader, or because a guardrail refused the input
                self.end(asyncio.CancelledError())
            elif (error := task.exception() or vars(result).get("_stored_exception")) is not None:
                self.end(error)
            elif result.final_output is None and vars(result).get("_cancel_mode", "none") != "none":
                self.end(asyncio.CancelledError())  # the reader has asked it to stop after a turn
            else:
                self.end(None, result)

    # -- what the SDK tells ------------------------------------------------------------------------
    def _look(self, context: Any, agent: Any) -> None:
        with self._hook.guarded():
            if self._run is None or self._usage is not None:
                return
            # A context may be used again, and then has the usage of earlier runs.
            self._usage, self._before = context.usage, (context.usage.input_tokens, context.usage.output_tokens)
            self._run.note_model(*_names(self._model if self._model is not None else agent.model))
            trace = get_current_trace()
            self._run.note_trace(None if trace is None or trace.trace_id == "no-op" else trace.trace_id)

    async def on_agent_start(self, context: Any, agent: Any) -> None:
        """Note model, trace and usage, then call the agent's own hook."""
        self._look(context, agent)
        await self._inner.on_agent_start(context, agent)

    async def on_llm_start(self, context: Any, agent: Any, system_prompt: Any, input_items: Any) -> None:
        """Note model, trace and usage of a run that was resumed, then call the agent's own hook."""
        self._look(context, agent)
        await self._inner.on_llm_start(context, agent, system_prompt, input_items)


class _ToolErrors(TracingProcessor):
    """Finds errors of tools that the SDK turns into text for the model: only the tool's span has them."""

    def on_span_end(self, span: Any) -> None:
        """Record the error in the innermost run."""
        error = span.error
        if not error or getattr(span.span_data, "type", "") != "function" or error.get("message") == _FATAL:
            return
        if (run := innermost_run(CrlRunner)) is not None:
            run.note_error(f"{span.span_data.name}: {error.get('message')}")

    def on_trace_start(self, trace: Any) -> None:
        """Nothing to do."""

    def on_trace_end(self, trace: Any) -> None:
        """Nothing to do."""

    def on_span_start(self, span: Any) -> None:
        """Nothing to do."""

    def shutdown(self) -> None:
        """Nothing to do."""

    def force_flush(self) -> None:
        """Nothing to do."""


_lock = threading.Lock()
_processors: list[_ToolErrors] = []


def _see_tool_errors() -> None:
    """Add the processor once per process."""
    with _lock:
        if not _processors:
            _processors.append(_ToolErrors())
            add_trace_processor(_processors[0])


def _setting(config: Any, name: str) -> Any:
    return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)


def _names(model: Any) -> tuple[str | None, str | None]:
    """Return the provider and the model, as far as they are known."""
    if model is None:
        model = get_default_model()
    if isinstance(model, str):
        prefix, _, rest = model.rpartition("/")
        return (prefix or "openai").rpartition("/")[2], rest
    provider = "openai" if type(model).__module__.startswith("agents.models.openai") else None
    return provider, getattr(model, "model", None)
