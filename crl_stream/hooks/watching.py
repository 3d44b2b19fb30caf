"""What all hooks share: a run gets its variant at the start and publishes exactly one outcome at the end."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from types import TracebackType
from typing import Any, Final, TypedDict, Unpack

from crl_stream.client.invocation import Client, RunningInvocation, is_abandonment
from crl_stream.core.messages.inputs import Status

Judge = Callable[[RunningInvocation, Any], object]
"""Called with the invocation and the framework's result before the outcome is published."""

NO_RESULT: Final = object()
"""Stands for the result of a run that has none."""

MOST_ERRORS: Final = 1_000
"""Number of errors of one run that are kept; more are not counted."""

_open: ContextVar[tuple[Run, ...]] = ContextVar("crl_runs", default=())
"""The runs that the current code is part of, the outermost first; those that have ended may still be listed."""


class Run:
    """One watched run of an agent. It can end only once; thread-safe."""

    def __init__(
        self, hook: Hook, session_id: str | None, *, began_with: str | None = None, block: bool = False
    ) -> None:
        self.hook, self.is_block = hook, block
        self._block = hook.client.invocation(
            hook.agent_name, hook.task_type, default=hook.default, session_id=session_id, began_with=began_with
        )
        self.invocation = self._block.__enter__()
        self.invocation.fields |= hook.fields
        self.ended = False
        self._lock = threading.Lock()
        self._errors: list[BaseException | str] = []
        self._input = self._output = 0
        self._counted = False
        self._cost: float | None = None

    def count_tokens(self, tokens_input: Any, tokens_output: Any) -> None:
        """Add the tokens of one call of a model; what is not a number counts as 0."""
        read, written = _whole(tokens_input), _whole(tokens_output)
        with self._lock:
            self._counted = self._counted or bool(read or written)
            self._input += read
            self._output += written

    def count_cost(self, cost: Any) -> None:
        """Add what a part of the run cost; what is not a number counts as 0."""
        if isinstance(cost, int | float | Decimal) and math.isfinite(cost):
            with self._lock:
                self._cost = (self._cost or 0.0) + max(0.0, float(cost))

    def note_model(self, provider: object, model: object) -> None:
        """Name the provider and model, unless the run or the hook has already named them."""
        for name, value in (("provider", provider), ("model", model)):
            if isinstance(value, str) and value:
                self.invocation.fields.setdefault(name, value)

    def note_trace(self, trace_id: str | None) -> None:
        """Name the trace: that of OpenTelemetry if there is one, else the framework's."""
        with self.hook.guarded():
            if self.invocation.trace_id is None:
                self.invocation.trace_id = _open_telemetry_trace() or trace_id or None

    def note_error(self, error: BaseException | str) -> None:
        """Record an error that may not end the run; the same exception counts once, however often it is seen."""
        if isinstance(error, BaseException) and is_abandonment(error):
            return
        with self._lock:
            known = isinstance(error, BaseException) and any(error is seen for seen in self._errors)
            if not known and len(self._errors) < MOST_ERRORS:
                self._errors.append(error)

    def end(self, error: BaseException | None = None, *, result: Any = NO_RESULT, status: Status | None = None) -> bool:
        """Publish the outcome; return False if the run has already ended.

        ``error`` ends the run as an error, or abandons it if the work was ended from outside. ``status`` is the
        framework's own verdict on a run that did not raise.
        """
        with self._lock:
            if self.ended:
                return False
            self.ended = True
            errors, self._errors = self._errors, []
        try:
            with self.hook.guarded():
                self._conclude(errors, error, status)
            if error is None and result is not NO_RESULT:
                self.hook.judge(self.invocation, result)
        finally:
            self._block.__exit__(None if error is None else type(error), error, None)
        return True

    def _conclude(self, errors: list[BaseException | str], error: BaseException | None, status: Status | None) -> None:
        """Give the invocation what was counted; figures that the agent has set itself stay."""
        running = self.invocation
        if status is not None:
            running.status = status
        if self._counted:
            running.tokens_input = self._input if running.tokens_input is None else running.tokens_input
            running.tokens_output = self._output if running.tokens_output is None else running.tokens_output
        running.cost = self._cost if running.cost is None else running.cost
        if self.hook.counts_errors:
            running.error_count += _recovered(errors, error)

    def abandon(self) -> None:
        """End the run without an outcome, because it says nothing about the variant; it counts as abandoned."""
        with self._lock:
            if self.ended:
                return
            self.ended = True
        self.hook.client.publisher.abandon()


class Guard:
    """A ``with`` block around the hook's own work."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        """Log an error and go on; what ends the program or the task goes through."""
        if not isinstance(error, Exception):
            return False
        self._hook.report("hook", f"{type(self._hook).__name__} failed", error)
        return True


class Options(TypedDict, total=False):
    """The options of every hook, given by keyword."""

    default: str
    """The variant to use while none is known; ``default`` unless you name another one."""
    judge: Judge | None
    """Called with the invocation and the framework's result at the end of each run that did not raise; it may set
    ``quality``, ``status`` and other fields, and must not block."""
    provider: str | None
    """Published instead of the provider that the framework names."""
    model: str | None
    """Published instead of the model that the framework names."""
    counts_errors: bool
    """Whether errors that the run recovers from are published as ``error_count``; True unless you say otherwise."""


class Hook:
    """The part of a hook that is the same for every framework. ``Options`` says what can be chosen."""

    def __init__(self, client: Client, agent_name: str, task_type: str, **options: Unpack[Options]) -> None:
        if unknown := sorted(options.keys() - Options.__annotations__.keys()):
            known = ", ".join(Options.__annotations__)
            raise TypeError(f"{type(self).__name__} has no option {unknown[0]!r}; all hooks have: {known}")
        self.client, self.agent_name, self.task_type = client, agent_name, task_type
        self.default = options.get("default", "default")
        self.fields = {name: value for name in ("provider", "model") if (value := options.get(name))}
        self.counts_errors = options.get("counts_errors", True)
        self._judge = options.get("judge")

    # -- for the agent -----------------------------------------------------------------------------
    @property
    def current(self) -> RunningInvocation | None:
        """The invocation that the calling code is part of; None outside of a run."""
        run = self.open_run
        return None if run is None else run.invocation

    @property
    def variant_id(self) -> str:
        """The variant of the current run; outside of a run, one that a new run may get."""
        running = self.current
        return running.variant_id if running is not None else self._resolved()[0]

    @property
    def configuration(self) -> dict[str, Any] | None:
        """The configuration of the variant ``variant_id``; None if it was registered without one. Do not change it."""
        running = self.current
        return running.configuration if running is not None else self._resolved()[1]

    @contextmanager
    def invocation(
        self, session_id: str | None = None, *, began_with: str | None = None
    ) -> Iterator[RunningInvocation]:
        """Make everything inside the block one invocation, for agents that need the variant before their run starts.

        Runs of the framework inside the block add their tokens and errors to it. ``began_with`` is the variant with
        which the session began, if you have kept it.
        """
        run = Run(self, session_id, began_with=began_with, block=True)
        self.enter(run)
        try:
            yield run.invocation
        except BaseException as error:
            run.end(error)
            raise
        else:
            run.end()
        finally:
            self.leave(run)

    # -- for the frameworks ------------------------------------------------------------------------
    @property
    def open_run(self) -> Run | None:
        """The innermost run of this hook that the calling code is part of."""
        return next((run for run in reversed(_open.get()) if run.hook is self and not run.ended), None)

    @property
    def block(self) -> Run | None:
        """The innermost ``with hook.invocation()`` that the calling code is in."""
        blocks = (run for run in reversed(_open.get()) if run.hook is self and run.is_block and not run.ended)
        return next(blocks, None)

    def begin(self, session_id: str | None = None) -> tuple[Run, bool] | None:
        """Return the run to report to, and whether it has just begun; None, with a log line, if that fails."""
        with self.guarded():
            if (run := self.open_run) is not None:
                return run, False
            return self.start(session_id), True
        return None

    def start(self, session_id: str | None = None) -> Run:
        """Begin a run, wherever the caller is, and make it the current one."""
        run = Run(self, session_id)
        self.enter(run)
        return run

    def enter(self, run: Run) -> None:
        """Make a run the current one for the code that the caller goes on to call."""
        _open.set((*(other for other in _open.get() if not other.ended), run))

    def leave(self, run: Run) -> None:
        """Undo ``enter``. It may be called in another context, where it does nothing: ended runs are ignored."""
        _open.set(tuple(other for other in _open.get() if other is not run and not other.ended))

    def guarded(self) -> Guard:
        """Return a ``with`` block that keeps the hook's own errors away from the agent; they are logged and counted."""
        return Guard(self)

    def judge(self, running: RunningInvocation, result: Any) -> None:
        """Call the agent's judge; if it fails, that is logged and the outcome is published without its figures."""
        if self._judge is None:
            return
        try:
            self._judge(running, result)
        except Exception as error:
            self.report("judge", "the judge failed", error)

    def report(self, kind: str, what: str, error: Exception) -> None:
        """Log an error that the agent must not see."""
        text = " ".join(str(error).split())
        self.client.publisher.troubles.say(kind, f"{what}: {type(error).__name__}: {text}")

    def _resolved(self) -> tuple[str, dict[str, Any] | None]:
        found = self.client.resolver.resolve(self.agent_name, self.task_type, self.default)
        return (self.default, None) if found is None else (found.variant_id, found.configuration)


def innermost_run(kind: type[Hook]) -> Run | None:
    """Return the innermost run, of any hook of this kind, that the calling code is part of."""
    return next((run for run in reversed(_open.get()) if isinstance(run.hook, kind) and not run.ended), None)


def session_of(value: object) -> str | None:
    """Return a framework's id of a conversation as a ``session_id``; None if the contract does not allow it."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if 1 <= len(text) <= 256 else None


def _whole(value: Any) -> int:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return max(0, int(value))
    return 0


def _recovered(errors: list[BaseException | str], end: BaseException | None) -> int:
    """Count the errors that are not the one that ended the run, or what led to it."""
    causes = _chain(end)
    texts = {str(cause) for cause in causes}
    return sum(
        one not in texts if isinstance(one, str) else not any(one is cause for cause in causes) for one in errors
    )


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return an error with everything that led to it."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting and len(found) < MOST_ERRORS:
        one = waiting.pop()
        if one is None or any(one is seen for seen in found):
            continue
        found.append(one)
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
    return found


def _open_telemetry_trace() -> str | None:
    """Return the id of the current OpenTelemetry trace; None if the program has none."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None
