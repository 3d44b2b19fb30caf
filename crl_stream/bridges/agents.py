"""Turns spans into invocations: the outermost span of each agent, completed from the spans inside it.

A span is an agent's if it invokes an agent (OpenTelemetry) or has the kind AGENT (OpenInference). A framework and a
remote service may both make a span for the same work, one inside the other. So a span inside another one of the same
agent is not counted. What is inside is decided with the spans of one record. If the spans of a trace arrive in several
records, an inner span whose outer one is elsewhere counts as well; see ``invocation_id`` in docs/bridges.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

from crl_stream.bridges import attributes as names
from crl_stream.bridges.mapping import Fault, Mapped, Message
from crl_stream.bridges.names import bounded, derived_id, mended, mended_all, text_in
from crl_stream.bridges.scale import Scale, number_in
from crl_stream.bridges.spans import SPAN_ID, TRACE_ID, Attributes, Event, Span
from crl_stream.core import messages as m
from crl_stream.core.identity import is_identifier
from crl_stream.core.instant import to_text
from crl_stream.wire import reasons

_NANOSECONDS: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_LONGEST_SECONDS: Final = 1e9
_MOST_TOKENS: Final = 1_000_000_000
_MOST_COST: Final = 1e9
_MOST_METRIC: Final = 1e9
_METRICS: Final = 4
_MOST_AROUND: Final = 128
"""How many outer spans of a span are examined at most, so that the work grows only with the number of spans."""
_FOREIGN: Final = 256
_LABEL: Final = 200
_SOURCES: Final = frozenset(("live", "stale", "file", "default", "explore", "session"))
_COMPLEXITIES: Final = frozenset(("low", "medium", "high"))


class Rules(NamedTuple):
    """How the fields of an invocation are found."""

    scale: Scale
    agent: str = ""
    """Attribute with the agent's name, before the usual ones; empty for none."""
    task: str = "crl.task_type"
    """Attribute with the task type, before the workflow's name."""
    variant: str = "crl.variant_id"
    """Attribute with the variant, before the versions of agent and prompt."""
    default_task: str = ""
    default_variant: str = ""
    by_trace: bool = False
    """Whether the trace id alone is the invocation id."""


class _Family(NamedTuple):
    """The spans of one record, and how they contain each other."""

    spans: dict[tuple[str, str], Span]
    agents: dict[tuple[str, str], str]
    """The mended agent name of every agent span whose name could be mended."""
    inner: dict[tuple[str, str], list[Span]]
    """The spans inside each counted agent span, without those inside a span of another agent."""


def map_spans(spans: Sequence[Span], rules: Rules, received: int) -> Mapped:
    """Return the invocations and feedback in the spans of one record; ``received`` is its time in milliseconds."""
    mapped = Mapped([], [])
    family = _family(spans, rules)
    counted, found = 0, list[Message | Fault | None]()
    for span in spans:
        if not _is_agent(span):
            found = list(_orphan_scores(span, family, rules, received))
        elif _within_own_agent(span, family):
            found = []
        else:
            counted += 1
            found = [_invocation(span, family, rules, received)]
        for one in found:
            if isinstance(one, Message):
                mapped.messages.append(one)
            elif one is not None:
                mapped.faults.append(one)
    return mapped._replace(ignored=len(spans) - counted)


def map_events(events: Iterable[Event], rules: Rules, received: int) -> Mapped:
    """Return the feedback in the log events of one record."""
    mapped, ignored = Mapped([], []), 0
    for event in events:
        if not _is_evaluation(event) or not rules.scale.counts(_evaluator(event)):
            ignored += 1
            continue
        found = _feedback(event, event.trace_id, event.span_id, (event.attributes, event.resource), rules, received)
        if isinstance(found, Message):
            mapped.messages.append(found)
        else:
            mapped.faults.append(found)
    return mapped._replace(ignored=ignored)


# -- which spans count -------------------------------------------------------------------------------
def _is_agent(span: Span) -> bool:
    operation = span.attributes.get(names.OPERATION)
    if isinstance(operation, str):
        return operation == names.INVOKE_AGENT
    kind = span.attributes.get(names.KIND)
    return isinstance(kind, str) and kind.upper() == names.KIND_AGENT


def _family(spans: Sequence[Span], rules: Rules) -> _Family:
    by_id = {(span.trace_id, span.span_id): span for span in reversed(spans)}
    agents = {place: name for place, span in by_id.items() if _is_agent(span) and (name := _agent_name(span, rules))}
    family = _Family(by_id, agents, {})
    for span in spans:
        if (owner := _owner(span, family)) is not None:
            family.inner.setdefault((owner.trace_id, owner.span_id), []).append(span)
    return family


def _owner(span: Span, family: _Family) -> Span | None:
    """Return the counted agent span around a span; None for a counted span, or if there is none in the record."""
    owner, name = None, family.agents.get((span.trace_id, span.span_id))
    if name is None and _is_agent(span):
        return None
    for outer in _ancestors(span, family):
        if name is None and _is_agent(outer):
            owner, name = outer, family.agents.get((outer.trace_id, outer.span_id))
            if name is None:
                break
        elif name is not None and family.agents.get((outer.trace_id, outer.span_id)) == name:
            owner = outer
    return owner


def _ancestors(span: Span, family: _Family) -> Iterator[Span]:
    """Yield the outer spans of a span that are in the record, the innermost first, up to the limit or a cycle."""
    seen = {(span.trace_id, span.span_id)}
    place = (span.trace_id, span.parent_id)
    while len(seen) <= _MOST_AROUND and (outer := family.spans.get(place)) is not None and place not in seen:
        yield outer
        seen.add(place)
        place = (outer.trace_id, outer.parent_id)


def _within_own_agent(span: Span, family: _Family) -> bool:
    own = family.agents.get((span.trace_id, span.span_id))
    if own is None:
        return False
    return any(family.agents.get((outer.trace_id, outer.span_id)) == own for outer in _ancestors(span, family))


# -- one invocation ----------------------------------------------------------------------------------
def _agent_name(span: Span, rules: Rules) -> str | None:
    text = _first((span.attributes,), (rules.agent, *names.AGENT))
    return None if text is None else mended(text)


def _invocation(span: Span, family: _Family, rules: Rules, received: int) -> Message | Fault | None:
    """Return the invocation of an agent span; None if its work was cancelled."""
    if not TRACE_ID.fullmatch(span.trace_id) or not SPAN_ID.fullmatch(span.span_id):
        return Fault(reasons.BAD_IDENTIFIER, "a span has no valid trace id and span id")
    error = text_in(span.attributes.get(names.ERROR_TYPE))
    if error in names.CANCELLED:
        return None
    inner = family.inner.get((span.trace_id, span.span_id), [])
    task = _task(span, family, inner, rules)
    if isinstance(task, Fault):
        return task
    own = span.attributes
    status: Literal["success", "failure", "error"] = "error" if error is not None or span.failed else "success"
    if status == "success" and own.get(names.STATUS) == "failure":
        status = "failure"
    quality, evaluator = _quality(span, inner, rules)
    message = m.Invocation(
        schema_version=1,
        invocation_id=_invocation_id(span.trace_id, span.span_id, rules),
        timestamp=_timestamp(span.end or span.start, received),
        status=status,
        quality=quality,
        evaluator=evaluator,
        duration_seconds=_duration(span),
        trace_id=span.trace_id,
        session_id=_bounded(own, names.SESSION, _FOREIGN),
        provider=_stated_or_agreed(span, inner, names.PROVIDER, _LABEL),
        model=_stated_or_agreed(span, inner, names.MODEL, _LABEL),
        tokens_input=_tokens(span, inner, names.TOKENS_IN),
        tokens_output=_tokens(span, inner, names.TOKENS_OUT),
        cost=_amount(own, names.COST),
        **task,
        **_ours(span),
    )
    return Message(message, f"00-{span.trace_id}-{span.span_id}-01")


def _task(span: Span, family: _Family, inner: list[Span], rules: Rules) -> dict[str, Any] | Fault:
    """Return the names of agent, task and variant."""
    outer = list(_ancestors(span, family))
    workflow = next((name for one in outer if (name := _workflow_name(one))), None)
    both, where = (span.attributes, span.resource), f"span {span.span_id} of trace {span.trace_id}"
    lacks = f"{where} does not name"
    found = {
        "agent_name": (
            _first(both, (rules.agent, *names.AGENT)),
            f"{lacks} the agent (gen_ai.agent.name)",
        ),
        "task_type": (
            _first(both, (rules.task, names.WORKFLOW)) or workflow or rules.default_task or None,
            f"{lacks} the task ({rules.task} or gen_ai.workflow.name, or default_task_type in the settings)",
        ),
        "variant_id": (
            _first(both, (rules.variant, *names.VARIANT))
            or _unanimous(inner, (rules.variant, *names.VARIANT))
            or rules.default_variant
            or None,
            f"{lacks} the variant ({rules.variant} or gen_ai.agent.version, or default_variant in the settings)",
        ),
    }
    return mended_all(found, where)


def _workflow_name(span: Span) -> str | None:
    if span.attributes.get(names.OPERATION) != names.INVOKE_WORKFLOW:
        return None
    return _first((span.attributes,), (names.WORKFLOW, names.AGENT[0]))


def _ours(span: Span) -> dict[str, Any]:
    """Return the fields for which crl-stream has attributes of its own; what does not fit counts as absent."""
    own, found = span.attributes, dict[str, Any]()
    runtime = _first((own, span.resource), (names.RUNTIME,)) or _first((span.resource,), (names.INSTANCE,))
    if runtime is not None and (name := mended(runtime)) is not None:
        found["runtime_id"] = name
    epoch = own.get(names.EPOCH)
    if isinstance(epoch, int) and not isinstance(epoch, bool) and 0 <= epoch < 2**63:
        found["active_epoch"] = epoch
    for field, name, allowed in (
        ("variant_source", names.SOURCE, _SOURCES),
        ("role", names.ROLE, frozenset(("live", "shadow"))),
        ("complexity", names.COMPLEXITY, _COMPLEXITIES),
    ):
        if (word := own.get(name)) in allowed:
            found[field] = word
    if metrics := _metrics(own):
        found["metrics"] = metrics
    reward = number_in(own.get(names.REWARD))
    if reward is not None and -1.0 <= reward <= 1.0:
        found["reward"] = reward
    return found


def _metrics(own: Attributes) -> dict[str, float]:
    """Return the first named numbers, as many as an invocation may have."""
    found: dict[str, float] = {}
    for key, value in own.items():
        name, number = key.removeprefix(names.METRIC), number_in(value)
        if key.startswith(names.METRIC) and is_identifier(name) and number is not None and abs(number) <= _MOST_METRIC:
            found[name] = number
    return dict(list(found.items())[:_METRICS])


# -- scores --------------------------------------------------------------------------------------------
def _is_evaluation(event: Event) -> bool:
    return names.EVALUATION in {event.name, event.attributes.get(names.EVENT_NAME)}


def _evaluator(event: Event) -> str:
    return text_in(event.attributes.get(names.EVALUATION_NAME)) or ""


def _score(event: Event) -> float | None:
    values = (number_in(event.attributes.get(name)) for name in names.EVALUATION_SCORE)
    return next((value for value in values if value is not None), None)


def _quality(span: Span, inner: list[Span], rules: Rules) -> tuple[float | None, str | None]:
    """Return the quality of an invocation and its evaluator; of several scores the last one counts."""
    stated = number_in(span.attributes.get(names.QUALITY))
    if stated is not None and 0.0 <= stated <= 1.0:
        return stated, None
    found: tuple[float | None, str | None] = None, None
    for event in (event for one in (*inner, span) for event in one.events):
        name = _evaluator(event)
        if _is_evaluation(event) and rules.scale.counts(name) and (score := _score(event)) is not None:
            quality = rules.scale.quality(score)
            if quality is not None:
                found = quality, bounded(name, _FOREIGN)
    return found


def _orphan_scores(span: Span, family: _Family, rules: Rules, received: int) -> Iterator[Message | Fault]:
    """Yield the scores on a span whose agent span is not in the record, as feedback."""
    if any(_is_agent(outer) for outer in _ancestors(span, family)):
        return
    for event in span.events:
        if _is_evaluation(event) and rules.scale.counts(_evaluator(event)):
            own = (event.attributes, span.attributes, span.resource)
            yield _feedback(event, span.trace_id, span.parent_id or span.span_id, own, rules, received)


def _feedback(
    event: Event, trace_id: str, span_id: str, places: Sequence[Attributes], rules: Rules, received: int
) -> Message | Fault:
    """Return the score in an event as feedback for the invocation of this span."""
    where = f"evaluation {_evaluator(event)[:60]!r} of trace {trace_id[:32]}"
    if not TRACE_ID.fullmatch(trace_id) or not (rules.by_trace or SPAN_ID.fullmatch(span_id)):
        return Fault(reasons.MISSING_FIELD, f"invocation_id: {where} does not name the span that it is about")
    score = _score(event)
    if score is None:
        return Fault(reasons.MISSING_FIELD, f"quality: {where} has no number as gen_ai.evaluation.score.value")
    quality = rules.scale.quality(score)
    if quality is None:
        least, most = rules.scale.least, rules.scale.most
        return Fault(reasons.OUT_OF_RANGE, f"quality: {where} has the score {score}, outside of {least} to {most}")
    task = mended_all(
        {
            "agent_name": (
                _first(places, (rules.agent, *names.AGENT)),
                f"{where} does not name the agent (gen_ai.agent.name)",
            ),
            "task_type": (
                _first(places, (rules.task, names.WORKFLOW)) or rules.default_task or None,
                f"{where} does not name the task ({rules.task}, or default_task_type in the settings)",
            ),
        },
        where,
    )
    if isinstance(task, Fault):
        return task
    message = m.Feedback(
        schema_version=1,
        feedback_id=derived_id("otel", trace_id, span_id, _evaluator(event), event.time, score),
        timestamp=_timestamp(event.time, received),
        invocation_id=_invocation_id(trace_id, span_id, rules),
        quality=quality,
        evaluator=bounded(_evaluator(event), _FOREIGN),
        **task,
    )
    return Message(message)


# -- values --------------------------------------------------------------------------------------------
def _invocation_id(trace_id: str, span_id: str, rules: Rules) -> str:
    return trace_id if rules.by_trace else f"{trace_id}-{span_id}"


def _timestamp(nanoseconds: int, received: int) -> str:
    return to_text(nanoseconds // _NS_PER_MS if nanoseconds > 0 else max(0, received))


def _duration(span: Span) -> float | None:
    if not 0 < span.start <= span.end:
        return None
    seconds = (span.end - span.start) / _NANOSECONDS
    return round(seconds, 9) if seconds <= _LONGEST_SECONDS else None


def _first(places: Sequence[Attributes], wanted: Iterable[str]) -> str | None:
    """Return the first attribute that is text, by the order of the names, then of the places."""
    for name in wanted:
        for place in places:
            if name and (text := text_in(place.get(name))) is not None:
                return text
    return None


def _unanimous(spans: Iterable[Span], wanted: Sequence[str]) -> str | None:
    """Return the value that all spans with a value share; None if they differ or none has one."""
    found = {text for span in spans if (text := _first((span.attributes,), wanted)) is not None}
    return found.pop() if len(found) == 1 else None


def _stated_or_agreed(span: Span, inner: list[Span], wanted: Sequence[str], longest: int) -> str | None:
    return bounded(_first((span.attributes,), wanted) or _unanimous(inner, wanted), longest)


def _bounded(own: Attributes, wanted: Sequence[str], longest: int) -> str | None:
    return bounded(_first((own,), wanted), longest)


def _count(own: Attributes, wanted: Sequence[str]) -> int | None:
    for name in wanted:
        value = number_in(own.get(name))
        if value is not None and 0 <= value <= _MOST_TOKENS and value == int(value):
            return int(value)
    return None


def _tokens(span: Span, inner: list[Span], wanted: Sequence[str]) -> int | None:
    """Return the tokens of the agent's span, or else the sum over the model calls inside it."""
    stated = _count(span.attributes, wanted)
    if stated is not None:
        return stated
    calls = [count for one in inner if _is_model_call(one) and (count := _count(one.attributes, wanted)) is not None]
    return sum(calls) if calls and sum(calls) <= _MOST_TOKENS else None


def _is_model_call(span: Span) -> bool:
    own = span.attributes
    return own.get(names.OPERATION) in names.MODEL_CALLS or own.get(names.KIND) == names.KIND_MODEL


def _amount(own: Attributes, wanted: Sequence[str]) -> float | None:
    values = (number_in(own.get(name)) for name in wanted)
    return next((value for value in values if value is not None and 0 <= value <= _MOST_COST), None)
