"""The Claude Agent SDK: passes its messages through and reads the result message of each turn.

    hook = CrlMessages(client, "support", "refunds", default="v1")
    async for message in hook.query(prompt=question, options=options):  # instead of query()
        ...

With a ``ClaudeSDKClient``, ``hook.receive_response(sdk_client)`` replaces ``sdk_client.receive_response()``.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Unpack

from crl_stream.client.invocation import Client
from crl_stream.core.messages.inputs import Status
from crl_stream.hooks.watching import NO_RESULT, Hook, Options, Run, session_of

try:
    from claude_agent_sdk import (
        AssistantMessage,
        ResultMessage,
        ToolResultBlock,
        UserMessage,
        query,
    )
except ImportError as error:
    raise ImportError(
        "crl_stream.hooks.claude_agent needs the Claude Agent SDK: pip install claude-agent-sdk"
    ) from error

PROVIDER: Final = "anthropic"
_STOPPED: Final = {"aborted_streaming", "aborted_tools"}
"""Values of ``terminal_reason`` for a turn that was interrupted."""
_END: Final = object()
_READ: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class CrlMessages(Hook):
    """Passes messages through. One object serves any number of concurrent conversations.

    ``provider`` is ``anthropic`` unless you name another one, such as the cloud that serves the model.
    """

    def __init__(self, client: Client, agent_name: str, task_type: str, **options: Unpack[Options]) -> None:
        options.setdefault("provider", PROVIDER)
        super().__init__(client, agent_name, task_type, **options)
        self._spent: weakref.WeakKeyDictionary[Any, _Spent] = weakref.WeakKeyDictionary()
        """The cost of all turns so far, for each client of the SDK."""

    def query(
        self, *, prompt: Any, options: Any = None, transport: Any = None, session_id: str | None = None
    ) -> AsyncIterator[Any]:
        """Do what the SDK's ``query`` does; each result message ends an invocation.

        ``options`` may be a function without arguments, which can read ``variant_id`` and ``configuration``.
        ``session_id`` names the conversation; without it, the id in ``options`` is used.
        """
        known = session_id
        if known is None and options is not None and not callable(options):
            known = getattr(options, "resume", None) or getattr(options, "session_id", None)

        def messages() -> AsyncIterator[Any]:
            found: AsyncIterator[Any] = query(
                prompt=prompt, options=options() if callable(options) else options, transport=transport
            )
            return found

        return _Reader(self, messages, known, _Spent()).read()

    def receive_response(self, sdk_client: Any, *, session_id: str | None = None) -> AsyncIterator[Any]:
        """Do what ``receive_response`` of a ``ClaudeSDKClient`` does; its result message ends the invocation."""
        with self.guarded():
            spent = self._spent.setdefault(sdk_client, _Spent())
            return _Reader(self, sdk_client.receive_response, session_id, spent).read()
        found: AsyncIterator[Any] = sdk_client.receive_response()
        return found


class _Spent:
    """The cost of the turns of one process: the SDK reports only their sum."""

    def __init__(self) -> None:
        self._total = 0.0

    def by_turn(self, total: float) -> float:
        """Return the cost of the turn that has just ended; a new process begins at 0."""
        before, self._total = self._total, total
        return total - before if total >= before else total


class _Reader:
    """Reads the messages of one stream."""

    def __init__(
        self,
        hook: CrlMessages,
        messages: Callable[[], AsyncIterator[Any]],
        session_id: str | None,
        spent: _Spent,
    ) -> None:
        self._hook, self._messages, self._session, self._spent = hook, messages, session_of(session_id), spent
        self._run: Run | None = None
        self._owns = False

    async def read(self) -> AsyncIterator[Any]:
        """Yield every message. Each result message is an outcome, and so is a stream that ends without one."""
        stream: Any = None
        self._begin()
        try:
            while True:
                with self._working():
                    stream = self._messages() if stream is None else stream
                    message = await anext(stream, _END)
                if message is _END:
                    break
                self._note(message)
                yield message
            self._end("error")
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            if stream is not None:
                await stream.aclose()

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Make the run the current one while the SDK works; in between, the reader's own context is unchanged."""
        run = self._run if self._owns else None
        if run is not None:
            self._hook.enter(run)
        try:
            yield
        finally:
            if run is not None:
                self._hook.leave(run)

    def _begin(self) -> None:
        self._run, self._owns = self._hook.begin(self._session) or (None, False)
        if self._run is not None and self._owns:
            self._hook.leave(self._run)

    def _note(self, message: Any) -> None:
        with self._hook.guarded():
            # After a result, only these begin another turn; a stream may also close with messages of other kinds.
            if self._run is None and isinstance(message, AssistantMessage | ResultMessage):
                self._begin()
            if (run := self._run) is None:
                return
            if isinstance(message, AssistantMessage):
                run.note_model(None, message.model)
            elif isinstance(message, UserMessage) and isinstance(message.content, list):
                for block in message.content:
                    if isinstance(block, ToolResultBlock) and block.is_error:
                        run.note_error("a tool failed")
            elif isinstance(message, ResultMessage):
                self._conclude(run, message)

    def _conclude(self, run: Run, message: Any) -> None:
        """Read a result message, then end the run."""
        with self._hook.guarded():
            self._measure(run, message)
        if message.terminal_reason in _STOPPED:
            self._fail(GeneratorExit())
        else:
            self._end(_status_of(message), message)

    def _measure(self, run: Run, message: Any) -> None:
        invocation, usage = run.invocation, message.usage or {}
        run.count_tokens(sum(usage.get(name) or 0 for name in _READ), usage.get("output_tokens"))
        if message.total_cost_usd is not None:
            run.count_cost(self._spent.by_turn(message.total_cost_usd))
        run.note_trace(message.uuid)
        invocation.session_id = invocation.session_id or session_of(message.session_id)
        invocation.metrics.setdefault("num_turns", float(message.num_turns))
        if message.api_error_status is not None:
            invocation.metrics.setdefault("api_error_status", float(message.api_error_status))

    def _end(self, status: Status, result: Any = NO_RESULT) -> None:
        with self._hook.guarded():
            run, self._run = self._run, None
            if run is not None and self._owns:
                run.end(result=result, status=None if status == "success" else status)
            elif run is not None and status != "success":
                run.note_error(f"a turn ended with {status}")

    def _fail(self, error: BaseException) -> None:
        with self._hook.guarded():
            run, self._run = self._run, None
            if run is not None and self._owns:
                run.end(error)
            elif run is not None:
                run.note_error(error)


def _status_of(message: Any) -> Status:
    """Return how a turn ended.

    A failed call of the API is an ``error``. The outcome names the provider, so if variants of one provider fall
    together, their tasks are held and not rolled back. A limit that the turn has reached is a ``failure``.
    """
    if not message.is_error:
        return "success"
    if message.api_error_status is None and message.subtype.startswith("error_max_"):
        return "failure"
    return "error"
