"""Spans of agents as outcomes: what counts, what each field comes from, and that no input is too strange."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.otlp import (
    RECEIVED,
    START,
    TRACE,
    agent_span,
    as_json,
    as_proto,
    evaluation,
    logs_as_json,
    mapped,
    span,
    written,
)
from crl_stream.bridges.kinds import KINDS
from crl_stream.core import messages as m
from crl_stream.core.instant import to_text
from crl_stream.wire.dead_letter import read_letter
from crl_stream.wire.topics import DEAD_LETTERS, INVOCATIONS

ENCODINGS = pytest.mark.parametrize("encode", [as_json, as_proto])


def outcomes(spans: list[dict[str, Any]], encode: Any = as_json, **options: Any) -> list[m.Invocation]:
    """Return the outcomes in spans that have no fault."""
    value = encode(spans)
    found = mapped("otlp", value, **options)
    assert found.faults == []
    written(found, value)
    return [one.message for one in found.messages if isinstance(one.message, m.Invocation)]


def the_fault(spans: list[dict[str, Any]], **options: Any) -> str:
    found = mapped("otlp", as_json(spans), **options)
    assert found.messages == []
    [fault] = found.faults
    return fault.reason


# -- fields --------------------------------------------------------------------------------------------
@ENCODINGS
def test_a_span_of_an_agent_is_an_outcome_with_everything_that_it_says(encode: Any) -> None:
    own = {
        "gen_ai.provider.name": "anthropic",
        "gen_ai.response.model": "model-1",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.conversation.id": "conversation",
        "crl.runtime_id": "runtime/1",
        "crl.active_epoch": 4,
        "crl.variant_source": "live",
        "crl.reward": 0.5,
        "crl.quality": 0.25,
        "crl.cost": 0.125,
        "crl.complexity": "high",
        "crl.role": "shadow",
    }
    [found] = outcomes([agent_span(1, own=own, name="Math Tutor")], encode)
    assert found == m.Invocation(
        schema_version=1,
        invocation_id=f"{TRACE}-{1:016x}",
        timestamp="2025-11-19T14:30:02.000Z",
        agent_name="Math-Tutor",
        task_type="task",
        variant_id="v1",
        status="success",
        reward=0.5,
        quality=0.25,
        duration_seconds=2.0,
        complexity="high",
        active_epoch=4,
        variant_source="live",
        runtime_id="runtime-1",
        role="shadow",
        provider="anthropic",
        model="model-1",
        session_id="conversation",
        cost=0.125,
        tokens_input=12,
        tokens_output=3,
        trace_id=TRACE,
    )


@pytest.mark.parametrize(
    ("own", "status"),
    [
        ({}, "success"),
        ({"error.type": "timeout"}, "error"),
        ({"error.type": 500}, "error"),
        ({"error.type": ""}, "success"),
        ({"crl.status": "failure"}, "failure"),
        ({"crl.status": "failure", "error.type": "x"}, "error"),
    ],
)
def test_an_error_is_an_error_type_or_the_status_of_the_span(own: dict[str, Any], status: str) -> None:
    assert [one.status for one in outcomes([agent_span(1, own=own)])] == [status]
    assert [one.status for one in outcomes([agent_span(1, own=own, status=2)])] == ["error"]
    assert [one.status for one in outcomes([agent_span(1, own=own, status=1)])] == [status]


@pytest.mark.parametrize("word", ["CancelledError", "cancelled", "context canceled", "KeyboardInterrupt"])
def test_work_that_somebody_stopped_is_no_outcome(word: str) -> None:
    assert outcomes([agent_span(1, own={"error.type": word}, status=2)]) == []


@pytest.mark.parametrize(
    ("old", "field", "value"),
    [
        ("gen_ai.usage.prompt_tokens", "tokens_input", 7),
        ("llm.token_count.prompt", "tokens_input", 7),
        ("gen_ai.usage.completion_tokens", "tokens_output", 7),
        ("llm.token_count.completion", "tokens_output", 7),
        ("gen_ai.system", "provider", "openai"),
        ("llm.provider", "provider", "openai"),
        ("gen_ai.request.model", "model", "m"),
        ("llm.model_name", "model", "m"),
        ("session.id", "session_id", "s"),
        ("llm.cost.total", "cost", 0.5),
    ],
)
def test_older_names_and_those_of_openinference_mean_the_same(old: str, field: str, value: Any) -> None:
    [found] = outcomes([agent_span(1, own={old: value})])
    assert getattr(found, field) == value


def test_what_the_agents_span_does_not_say_its_calls_of_models_say() -> None:
    call = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5, "gen_ai.request.model": "m"}
    wrapper = {"gen_ai.usage.input_tokens": 11}  # not a call of a model: it repeats what is below it
    [found] = outcomes([span(2, call, 3), span(3, wrapper, 1), span(4, call, 1), agent_span(1)])
    assert (found.tokens_input, found.model) == (10, "m")
    other = call | {"gen_ai.request.model": "another"}
    [found] = outcomes([span(2, call, 1), span(3, other, 1), agent_span(1, own={"gen_ai.usage.input_tokens": 1})])
    assert (found.tokens_input, found.model) == (1, None)


def test_a_span_of_openinference_is_an_outcome_with_the_prompts_version_as_its_variant() -> None:
    own = {"openinference.span.kind": "AGENT", "agent.name": "helper", "crl.task_type": "task"}
    prompt = {"openinference.span.kind": "LLM", "llm.prompt_template.version": "v7"}
    [found] = outcomes([span(1, own), span(2, prompt, 1)])
    assert (found.agent_name, found.variant_id) == ("helper", "v7")
    [found] = outcomes([span(1, own | {"prompt.id": "p3"})])
    assert found.variant_id == "p3"


@ENCODINGS
def test_named_numbers_are_metrics_up_to_four_and_a_wrong_one_costs_only_itself(encode: Any) -> None:
    own = {f"crl.metric.m{number}": number for number in range(6)} | {"crl.metric.m0": "text", "crl.metric.m1": 1e300}
    [found] = outcomes([agent_span(1, own=own)], encode)
    assert found.metrics == {"m2": 2.0, "m3": 3.0, "m4": 4.0, "m5": 5.0}
    assert [one.metrics for one in outcomes([agent_span(1, own={"crl.metric.": 1, "crl.metric.a b": 2})])] == [None]


LIMITS: list[tuple[str, str, list[Any], list[Any]]] = [
    ("gen_ai.usage.input_tokens", "tokens_input", [0, 7, 10**9, 5.0], [-1, 10**9 + 1, 1.5, True, "7", float("nan")]),
    ("gen_ai.usage.output_tokens", "tokens_output", [0, 7, 10**9, 5.0], [-1, 10**9 + 1, 1.5, True, "7"]),
    ("crl.cost", "cost", [0, 0.25, 1e9], [-0.001, 1e9 + 1, float("inf"), True, "1"]),
    ("crl.reward", "reward", [-1, 0, 1], [-1.001, 1.001, True, "1"]),
    ("crl.quality", "quality", [0, 1], [-0.001, 1.001, True, "1"]),
    ("crl.active_epoch", "active_epoch", [0, 4, 2**63 - 1], [-1, 2**63, True, 1.0, "4"]),
    ("crl.metric.x", "metrics", [0, -1e9, 1e9], [1e9 + 1, -1e9 - 1, float("nan"), True]),
    ("crl.variant_source", "variant_source", ["live", "session", "explore"], ["other", 1]),
    ("crl.complexity", "complexity", ["low", "medium", "high"], ["other", 1]),
    ("crl.role", "role", ["live", "shadow"], ["other", 1]),
    ("gen_ai.conversation.id", "session_id", ["x" * 256, 7], ["", "  ", True, 1.5]),
]


@ENCODINGS
@pytest.mark.parametrize(("name", "field", "good", "wrong"), LIMITS, ids=[field for _, field, *_ in LIMITS])
def test_each_value_is_taken_up_to_its_limits_and_one_beyond_them_counts_as_absent(
    name: str, field: str, good: list[Any], wrong: list[Any], encode: Any
) -> None:
    for value in good:
        [found] = outcomes([agent_span(1, own={name: value})], encode)
        expected = {"x": value} if field == "metrics" else str(value) if field == "session_id" else value
        assert getattr(found, field) == expected
    [without] = outcomes([agent_span(1)], encode)
    for value in wrong:
        assert outcomes([agent_span(1, own={name: value})], encode) == [without]


def test_a_newer_name_that_says_nothing_leaves_the_word_to_an_older_one() -> None:
    own = {"gen_ai.usage.input_tokens": -1, "gen_ai.usage.prompt_tokens": 7, "crl.cost": -1.0, "llm.cost.total": 0.5}
    [found] = outcomes([agent_span(1, own=own | {"session.id": "s", "gen_ai.conversation.id": ""})])
    assert (found.tokens_input, found.cost, found.session_id) == (7, 0.5, "s")


def test_long_texts_are_cut_and_more_tokens_than_a_count_can_be_are_unknown() -> None:
    own = {"gen_ai.conversation.id": "s" * 300, "gen_ai.provider.name": "p" * 300, "gen_ai.response.model": "m" * 300}
    [found] = outcomes([agent_span(1, own=own)])
    assert (found.session_id, found.provider, found.model) == ("s" * 256, "p" * 200, "m" * 200)
    call = {"openinference.span.kind": "LLM", "gen_ai.usage.input_tokens": 500_000_000}
    [found] = outcomes([agent_span(1), span(2, call, 1), span(3, call, 1)])
    assert found.tokens_input == 10**9
    [found] = outcomes([agent_span(1), *[span(number, call, 1) for number in (2, 3, 4)]])
    assert found.tokens_input is None


@ENCODINGS
def test_the_runtime_is_the_spans_own_or_the_processs_and_its_instance_last(encode: Any) -> None:
    def runtime(own: dict[str, Any], process: dict[str, Any]) -> str | None:
        found = mapped("otlp", encode([agent_span(1, own=own)], process)).messages[0].message
        assert isinstance(found, m.Invocation)
        return found.runtime_id

    instance, named = {"service.instance.id": "i-1"}, {"crl.runtime_id": "named"}
    assert runtime({"crl.runtime_id": "own"}, instance | named) == "own"
    assert runtime({}, instance | named) == "named"
    assert runtime({}, instance) == "i-1"
    assert runtime(instance, {}) is None, "only a process has an instance"
    assert runtime({"crl.runtime_id": "数"}, {}) is None


@ENCODINGS
def test_the_process_may_name_agent_task_and_variant(encode: Any) -> None:
    process = {"gen_ai.agent.name": "helper", "crl.task_type": "task", "crl.variant_id": "v2"}
    [message] = mapped("otlp", encode([span(1, {"gen_ai.operation.name": "invoke_agent"})], process)).messages
    assert isinstance(message.message, m.Invocation)
    named = (message.message.agent_name, message.message.task_type, message.message.variant_id)
    assert named == ("helper", "task", "v2")
    assert message.traceparent == f"00-{TRACE}-{1:016x}-01"


@pytest.mark.parametrize("kind", ["AGENT", "agent"])
def test_only_spans_that_invoke_an_agent_are_outcomes_and_the_others_are_counted(kind: str) -> None:
    own = {"gen_ai.agent.name": "helper", "crl.task_type": "task", "crl.variant_id": "v"}
    spans = [
        span(1, own | {"openinference.span.kind": kind}),
        span(2, own | {"openinference.span.kind": "CHAIN"}),
        span(3, own | {"openinference.span.kind": 1}),
        span(4, own | {"gen_ai.operation.name": "chat", "openinference.span.kind": "AGENT"}),
        span(5, own),
        span(6, own | {"gen_ai.operation.name": "invoke_agent"}, 1),
    ]
    found = mapped("otlp", as_json(spans))
    assert [one.message.invocation_id for one in found.messages if isinstance(one.message, m.Invocation)] == [
        f"{TRACE}-{1:016x}"
    ]
    assert (found.faults, found.ignored) == ([], 5)


# -- names -------------------------------------------------------------------------------------------
def bare(number: int, parent: int = 0, **own: Any) -> dict[str, Any]:
    return span(number, {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "helper"} | own, parent)


def test_the_task_is_the_attribute_or_else_the_workflow_or_else_the_default() -> None:
    versioned = {"gen_ai.agent.version": "v1"}
    named = bare(2, 1, **versioned, **{"gen_ai.workflow.name": "own"})
    older = span(1, {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "billing"})
    newer = span(1, {"gen_ai.operation.name": "invoke_workflow", "gen_ai.agent.name": "billing"})
    options = {"default_task_type": "otherwise"}
    assert [one.task_type for one in outcomes([older, bare(2, 1, **versioned)], **options)] == ["billing"]
    assert [one.task_type for one in outcomes([newer, bare(2, 1, **versioned)], **options)] == ["billing"]
    assert [one.task_type for one in outcomes([older, named], **options)] == ["own"]
    assert [one.task_type for one in outcomes([bare(2, 1, **versioned)], **options)] == ["otherwise"]
    assert [one.task_type for one in outcomes([agent_span(2)], **options)] == ["task"]
    assert the_fault([bare(2, **versioned)]) == "missing_field"
    chain = span(1, {"gen_ai.operation.name": "execute_tool", "gen_ai.workflow.name": "no workflow"})
    assert the_fault([chain, bare(2, 1, **versioned)]) == "missing_field", "only a span of a workflow names one"


def test_the_variant_is_the_attribute_or_else_a_version_or_else_the_default() -> None:
    task = {"crl.task_type": "task"}
    assert the_fault([bare(1, **task)]) == "missing_field"
    for own, variant in (
        ({}, "otherwise"),
        ({"gen_ai.prompt.version": "12"}, "12"),
        ({"gen_ai.prompt.version": 12}, "12"),
        ({"gen_ai.prompt.version": "12", "gen_ai.agent.version": "2025-05-01"}, "2025-05-01"),
        ({"gen_ai.agent.version": "v1", "crl.variant_id": "mine"}, "mine"),
    ):
        assert [one.variant_id for one in outcomes([bare(1, **task, **own)], default_variant="otherwise")] == [variant]
    [found] = outcomes([bare(1, **task, prompt="p")], variant_attribute="prompt")
    assert found.variant_id == "p"


def test_a_name_that_would_become_another_name_is_a_fault_and_not_mended() -> None:
    assert the_fault([agent_span(1, name="数学")]) == "bad_identifier"
    assert the_fault([agent_span(1, name="x" * 200)]) == "bad_identifier"
    assert the_fault([agent_span(1, name="  ")]) == "missing_field"


@pytest.mark.parametrize("ids", [{"trace": ""}, {"trace": "0" * 32}, {"id": "ab"}, {"id": "0" * 16}, {"trace": "zz"}])
def test_a_span_without_valid_ids_is_a_fault_because_a_repetition_could_not_be_recognised(ids: dict[str, str]) -> None:
    assert the_fault([agent_span(1) | ids]) == "bad_identifier"


@pytest.mark.parametrize(
    ("start", "end", "timestamp", "seconds"),
    [
        (0, 0, to_text(RECEIVED), None),
        (START, 0, "2025-11-19T14:30:00.000Z", None),
        (0, START, "2025-11-19T14:30:00.000Z", None),
        (START, START - 1, "2025-11-19T14:29:59.999Z", None),
        (START, START, "2025-11-19T14:30:00.000Z", 0.0),
        (1, 1, "1970-01-01T00:00:00.000Z", 0.0),
        (1, 1 + 10**18, "2001-09-09T01:46:40.000Z", 1e9),
        (1, 1 + 10**18 + 10**9, "2001-09-09T01:46:41.000Z", None),
        (1, 2**64 - 1, "2554-07-21T23:34:33.709Z", None),
    ],
)
def test_a_time_that_cannot_be_costs_the_duration_and_not_the_outcome(
    start: int, end: int, timestamp: str, seconds: float | None
) -> None:
    [found] = outcomes([agent_span(1, start=start, end=end)])
    assert (found.timestamp, found.duration_seconds) == (timestamp, seconds)


# -- nesting -------------------------------------------------------------------------------------------
@ENCODINGS
def test_an_agent_is_counted_once_however_many_of_its_spans_are_inside_each_other(encode: Any) -> None:
    chain = [agent_span(4, 3), agent_span(3, 2), span(2, {}, 1), agent_span(1)]
    for spans in (chain, chain[::-1]):
        assert [one.invocation_id for one in outcomes(spans, encode)] == [f"{TRACE}-{1:016x}"]


def test_another_agent_inside_counts_for_itself_and_not_for_the_outer_one() -> None:
    call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "theirs"}
    found = outcomes([agent_span(1), agent_span(2, 1, name="other"), span(3, call, 2), agent_span(4, 2)])
    assert {(one.agent_name, one.model) for one in found} == {("helper", None), ("other", "theirs")}


@pytest.mark.parametrize(("between", "count"), [(127, 1), (128, 2)])
def test_only_so_many_spans_around_a_span_are_looked_at(between: int, count: int) -> None:
    plain = [span(number, {}, number - 1) for number in range(2, between + 2)]
    assert len(outcomes([agent_span(1), *plain, agent_span(between + 2, between + 1)])) == count


def test_an_attribute_without_a_name_names_nothing() -> None:
    [found] = outcomes([agent_span(1, own={"": "nothing"})])
    assert found.agent_name == "helper"


CALL = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5, "gen_ai.request.model": "m"}


def test_what_is_inside_an_inner_span_of_an_agent_counts_for_its_outermost_one() -> None:
    [found] = outcomes([span(3, CALL, 2), agent_span(2, 1, events=[evaluation(0.5)]), agent_span(1)])
    assert (found.tokens_input, found.model, found.quality) == (5, "m", 0.5)
    between = [agent_span(1), agent_span(2, 1, name="other"), agent_span(3, 2), span(4, CALL, 3)]
    assert {(one.agent_name, one.tokens_input) for one in outcomes(between)} == {("helper", 5), ("other", None)}


def test_an_agent_whose_name_cannot_be_used_is_a_fault_and_lends_nothing_to_the_agent_around_it() -> None:
    nameless = agent_span(2, 1, name="数", own={"gen_ai.response.model": "theirs"})
    found = mapped("otlp", as_json([agent_span(1), nameless, span(3, CALL, 2)]))
    [message], [fault] = found.messages, found.faults
    assert isinstance(message.message, m.Invocation)
    assert (message.message.model, message.message.tokens_input) == (None, None)
    assert fault.reason == "bad_identifier"
    assert the_fault([agent_span(2, 1, name="数"), span(1, {})]) == "bad_identifier"


def test_spans_that_contain_each_other_in_a_circle_are_counted_and_do_not_hang() -> None:
    assert outcomes([agent_span(1, 2), agent_span(2, 1)]) == []
    assert len(outcomes([agent_span(1, 1)])) == 1


def test_an_inner_span_without_its_outer_one_counts_as_well_unless_the_trace_is_the_id() -> None:
    apart = [outcomes([one])[0].invocation_id for one in (agent_span(2, 1), agent_span(1))]
    assert len(set(apart)) == 2
    together = [outcomes([one], invocation_id="trace")[0].invocation_id for one in (agent_span(2, 1), agent_span(1))]
    assert together == [TRACE, TRACE]


# -- scores --------------------------------------------------------------------------------------------
@ENCODINGS
def test_an_evaluation_on_a_span_in_hand_is_the_quality_of_its_outcome(encode: Any) -> None:
    scale = {"evaluator": "helpful", "score_min": 1, "score_max": 5}
    events = [evaluation(1, "other"), evaluation(4), evaluation("x"), evaluation(99)]
    [found] = outcomes([agent_span(1, events=events)], encode, **scale)
    assert (found.quality, found.evaluator) == (0.75, "helpful")
    [found] = outcomes([agent_span(1), span(2, {}, 1, events=[evaluation(2.0)])], encode, **scale)
    assert (found.quality, found.evaluator) == (0.25, "helpful")


def test_a_scale_may_run_backwards() -> None:
    [found] = outcomes([agent_span(1, events=[evaluation(1)])], score_min=5, score_max=1)
    assert found.quality == 1.0


def test_an_evaluation_whose_agent_is_elsewhere_is_feedback_for_the_span_around_it() -> None:
    names = {"gen_ai.agent.name": "helper", "crl.task_type": "task"}
    value = as_json([span(2, names, 1, events=[evaluation(0.5)])])
    [message] = mapped("otlp", value).messages
    found = message.message
    assert isinstance(found, m.Feedback)
    assert (found.invocation_id, found.quality, found.agent_name) == (f"{TRACE}-{1:016x}", 0.5, "helper")
    assert mapped("otlp", value) == mapped("otlp", value), "a repetition has the same id"


def test_another_event_on_a_span_without_its_agent_is_nothing() -> None:
    names = {"gen_ai.agent.name": "helper", "crl.task_type": "task"}
    found = mapped("otlp", as_json([span(2, names, 1, events=[{"name": "retry", "time": START, "attributes": {}}])]))
    assert (found.messages, found.faults, found.ignored) == ([], [], 1)
    [only] = mapped("otlp", as_json([span(2, names, events=[evaluation(0.5)])])).messages
    assert only.message.invocation_id == f"{TRACE}-{2:016x}", "the first span of a trace stands for itself"


def test_an_evaluation_in_the_logs_is_feedback() -> None:
    about = {"gen_ai.agent.name": "helper", "crl.task_type": "task"}
    event = evaluation(3, **about) | {"id": f"{9:016x}"}
    value = logs_as_json([event, {"name": "other", "time": 0, "attributes": {}}, evaluation(1, "rude")])
    found = mapped("otlp", value, signal="logs", evaluator="helpful", score_min=1, score_max=5)
    [message] = found.messages
    assert (found.faults, found.ignored) == ([], 2)
    assert isinstance(message.message, m.Feedback)
    assert (message.message.invocation_id, message.message.quality) == (f"{TRACE}-{9:016x}", 0.5)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (evaluation("good"), "missing_field"),
        (evaluation(7), "out_of_range"),
        (evaluation(1) | {"trace": "?"}, "missing_field"),
        (evaluation(1) | {"id": ""}, "missing_field"),
        (evaluation(1, **{"gen_ai.agent.name": "数"}), "bad_identifier"),
    ],
)
def test_a_score_that_cannot_be_used_is_a_fault(event: dict[str, Any], reason: str) -> None:
    names = {"gen_ai.agent.name": "helper", "crl.task_type": "task"}
    event = event | {"attributes": names | event["attributes"]}
    event.setdefault("id", f"{9:016x}")
    [fault] = mapped("otlp", logs_as_json([event]), signal="logs").faults
    assert fault.reason == reason


def feedback_of(event: dict[str, Any], **options: Any) -> Any:
    """Return the feedback in one log event, or the text of its fault."""
    found = mapped("otlp", logs_as_json([event]), signal="logs", **options)
    return found.messages[0].message if found.messages else found.faults[0].detail


def test_the_task_of_a_score_is_its_own_or_the_default() -> None:
    event = evaluation(1, **{"gen_ai.agent.name": "helper"}) | {"id": f"{9:016x}"}
    assert feedback_of(event, default_task_type="otherwise").task_type == "otherwise"
    event["attributes"]["gen_ai.workflow.name"] = "billing"
    assert feedback_of(event, default_task_type="otherwise").task_type == "billing"
    del event["attributes"]["gen_ai.workflow.name"]
    assert "task_type: evaluation 'helpful' of trace" in feedback_of(event)


def test_a_score_needs_no_span_if_the_trace_is_the_invocation() -> None:
    names = {"gen_ai.agent.name": "helper", "crl.task_type": "task"}
    assert feedback_of(evaluation(1, **names), invocation_id="trace").invocation_id == TRACE
    assert "does not name the span" in feedback_of(evaluation(1, **names))


def test_only_a_result_of_an_evaluation_is_a_score_under_its_old_and_its_new_name() -> None:
    names = {"gen_ai.agent.name": "helper", "crl.task_type": "task"}
    event = evaluation(1, **names) | {"id": f"{9:016x}", "name": "another"}
    found = mapped("otlp", logs_as_json([event]), signal="logs")
    assert (found.messages, found.faults, found.ignored) == ([], [], 1)
    event["attributes"]["event.name"] = "gen_ai.evaluation.result"
    assert feedback_of(event).quality == 1.0


def test_long_names_are_shortened_in_a_fault() -> None:
    event = evaluation(1, "e" * 99) | {"trace": "z" * 99}
    assert f"evaluation {'e' * 60!r} of trace {'z' * 32} does" in feedback_of(event)
    found = mapped("otlp", as_json([agent_span(1, name="x" * 200)]))
    assert found.faults[0].detail.endswith(f"cannot be mended: {'x' * 60!r}")


def test_scores_with_another_time_span_evaluator_or_number_have_other_ids() -> None:
    names = {"gen_ai.agent.name": "helper", "crl.task_type": "task"}
    one = evaluation(1, **names) | {"id": f"{9:016x}"}
    others = [one | {"time": START + 1}, one | {"id": f"{8:016x}"}, one | {"trace": "1" * 32}]
    others += [evaluation(0, **names) | {"id": f"{9:016x}"}, evaluation(1, "kind", **names) | {"id": f"{9:016x}"}]
    assert len({feedback_of(event).feedback_id for event in (one, *others)}) == 6
    assert feedback_of(one) == feedback_of(one)


# -- faults --------------------------------------------------------------------------------------------
def test_a_record_with_faults_is_one_dead_letter_with_its_bytes_and_the_good_spans_count() -> None:
    value = as_json([agent_span(1), bare(2), bare(3), span(4, {})])
    outputs = written(mapped("otlp", value), value)
    assert [output.topic for output in outputs] == [INVOCATIONS, DEAD_LETTERS]
    letter = read_letter(outputs[1].headers)
    assert (letter.reason, letter.topic, letter.partition, letter.offset) == ("missing_field", "topic", 0, 7)
    assert "and 1 more faults" in letter.detail
    assert outputs[1].value == value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null_value"),
        (b"", "null_value"),
        (b"{", "not_json"),
        (b"\xff\xff", "not_otlp"),
        (b"\x0a\x05ab", "not_otlp"),
        (b'{"resourceSpans": 3}', "not_otlp"),
        (b'{"resourceSpans": [3]}', "not_otlp"),
        (b"{" * 100_000, "not_json"),
    ],
)
def test_a_record_that_is_not_otlp_is_a_fault(value: bytes | None, reason: str) -> None:
    assert [one.reason for one in mapped("otlp", value).faults] == [reason]


def test_the_topic_is_the_collectors_own_unless_it_is_named() -> None:
    def source(**options: Any) -> str:
        return str(KINDS["otlp"].options.model_validate({"kind": "otlp"} | options).source())

    assert (source(), source(signal="logs"), source(topic="mine")) == ("otlp_spans", "otlp_logs", "mine")


def test_an_encoding_that_is_set_is_not_guessed() -> None:
    value = as_json([agent_span(1)])
    assert [one.reason for one in mapped("otlp", value, encoding="otlp_proto").faults] == ["not_otlp"]
    assert [one.reason for one in mapped("otlp", as_proto([]), encoding="otlp_json").faults] == ["not_json"]
    assert [one.reason for one in mapped("otlp", b"[]", encoding="otlp_json").faults] == ["not_an_object"]


def test_an_export_without_spans_of_agents_is_nothing() -> None:
    for value in (as_json([]), as_proto([span(1, {})]), b"{}", b'{"resourceLogs": []}'):
        found = mapped("otlp", value)
        assert (found.messages, found.faults) == ([], [])


# -- anything ------------------------------------------------------------------------------------------
NAMES = st.sampled_from(
    [
        *("gen_ai.operation.name", "gen_ai.agent.name", "gen_ai.agent.version", "gen_ai.prompt.version"),
        *("crl.task_type", "crl.reward", "crl.quality", "crl.active_epoch", "crl.cost", "crl.runtime_id", "crl.role"),
        *("crl.metric.a", "crl.metric.b"),
        *("gen_ai.usage.input_tokens", "gen_ai.provider.name", "session.id", "error.type", "openinference.span.kind"),
        *("gen_ai.evaluation.name", "gen_ai.evaluation.score.value", "gen_ai.workflow.name", "service.instance.id"),
    ]
)
SCALARS = st.one_of(
    st.sampled_from(["invoke_agent", "invoke_workflow", "AGENT", "helper", "v1", "shadow", "CancelledError", ""]),
    st.text(max_size=300).map(lambda text: text.encode("utf-8", "ignore").decode()),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
)
VALUES = st.recursive(
    SCALARS | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)
ATTRIBUTES = st.dictionaries(NAMES, VALUES, max_size=8)
IDS = st.integers(0, 6).map(lambda number: f"{number:016x}") | st.sampled_from(["", "ab", "ffff" * 8])
EVENTS = st.builds(
    lambda time, attributes: {"name": "gen_ai.evaluation.result", "time": time, "attributes": attributes},
    st.integers(0, 2**64 - 1),
    ATTRIBUTES,
)
SPANS = st.builds(
    lambda trace, own, parent, start, end, status, attributes, agent, events: (
        (agent_span(1, own=attributes) if agent else span(1, attributes))
        | {"trace": trace, "id": own, "parent": parent, "start": start, "end": end, "status": status, "events": events}
    ),
    st.sampled_from([TRACE, "0" * 32, "ab", "", "1" * 32]),
    IDS,
    IDS,
    *[st.integers(0, 2**64 - 1)] * 2,
    st.integers(0, 3),
    ATTRIBUTES,
    st.booleans(),
    st.lists(EVENTS, max_size=2),
)
OPTIONS = st.sampled_from(
    [{}, {"invocation_id": "trace"}, {"default_task_type": "t", "default_variant": "v"}, {"score_min": -1e300}]
)


@given(st.lists(SPANS, max_size=8), ATTRIBUTES, OPTIONS)
def test_whatever_otlp_allows_gives_outcomes_that_the_log_accepts_and_both_encodings_the_same(
    spans: list[dict[str, Any]], resource: dict[str, Any], options: dict[str, Any]
) -> None:
    as_text, as_bytes = as_json(spans, resource), as_proto(spans, resource)
    found = mapped("otlp", as_text, encoding="otlp_json", **options)
    if spans:
        assert mapped("otlp", as_bytes, encoding="otlp_proto", **options) == found
    outputs = written(found, as_text)
    assert len([one for one in outputs if one.topic == DEAD_LETTERS]) <= 1
    agents = {one.message.invocation_id for one in found.messages if isinstance(one.message, m.Invocation)}
    assert len(agents) <= len(spans)


@given(st.binary(max_size=300), st.sampled_from(["traces", "logs"]), st.sampled_from(["auto", "otlp_proto"]))
def test_no_bytes_make_the_bridge_fail(value: bytes, signal: str, encoding: str) -> None:
    written(mapped("otlp", value, signal=signal, encoding=encoding), value)


@given(st.lists(SPANS, min_size=1, max_size=3), st.integers(0, 2_000), st.integers(0, 255))
def test_no_damaged_byte_makes_the_bridge_fail(spans: list[dict[str, Any]], at: int, byte: int) -> None:
    value = bytearray(as_proto(spans))
    value[at % len(value)] = byte
    written(mapped("otlp", bytes(value), encoding="otlp_proto"), bytes(value))
    text = bytearray(as_json(spans))
    text[at % len(text)] = byte
    written(mapped("otlp", bytes(text), encoding="otlp_json"), bytes(text))


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("resourceSpans", "scopeSpans", "spans", "resource", "attributes", "key", "value", "events"),
                    *("resourceLogs", "scopeLogs", "logRecords", "traceId", "spanId", "status", "code", "stringValue"),
                    *("intValue", "doubleValue", "endTimeUnixNano"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=30,
)


@given(
    st.dictionaries(st.sampled_from(["resourceSpans", "resourceLogs"]), ANY_JSON), st.sampled_from(["traces", "logs"])
)
def test_no_object_of_another_shape_makes_the_bridge_fail(page: dict[str, Any], signal: str) -> None:
    value = json.dumps(page).encode()
    written(mapped("otlp", value, signal=signal), value)


@pytest.mark.parametrize("depth", [400, 100_000])
def test_lists_of_any_depth_cost_at_most_their_record(depth: int) -> None:
    value = as_json([agent_span(1, own={"deep": "DEEP"})])
    nested = b'{"arrayValue":{"values":[' * depth + b'{"stringValue":"x"}' + b"]}}" * depth
    found = mapped("otlp", value.replace(b'{"stringValue": "DEEP"}', nested))
    assert len(found.messages) == 1 or [one.reason for one in found.faults] == ["not_json"]


def test_thousands_of_spans_and_deep_lists_are_mapped_in_time_that_grows_with_their_number() -> None:
    deep: Any = "bottom"
    for _ in range(60):
        deep = {"a": [deep]}
    spans = [agent_span(n, n - 1, own={"deep": deep} if n == 1 else {}) for n in range(1, 3_001)]
    [found] = outcomes(spans, as_proto)
    assert found.invocation_id.endswith(f"{1:016x}")
    plain = [span(n, {}, n - 1, events=[evaluation(1)]) for n in range(1, 3_001)]
    assert mapped("otlp", as_proto(plain)).messages == []
    apart = [agent_span(n, 0) for n in range(1, 3_001)]
    assert len(outcomes(apart)) == 3_000
