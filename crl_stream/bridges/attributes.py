"""The names of all attributes that the bridge for OpenTelemetry reads.

OpenTelemetry's conventions for generative AI are in development (repository semantic-conventions-genai), and names
change from release to release. Each list has the newest name first; the others are older names, or those of
OpenInference, which means the same thing.
"""

from __future__ import annotations

from typing import Final

OPERATION: Final = "gen_ai.operation.name"
INVOKE_AGENT: Final = "invoke_agent"
INVOKE_WORKFLOW: Final = "invoke_workflow"
KIND: Final = "openinference.span.kind"
"""OpenInference's kind of a span, which stands for the operation."""
KIND_AGENT: Final = "AGENT"
KIND_MODEL: Final = "LLM"
MODEL_CALLS: Final = frozenset(("chat", "text_completion", "generate_content"))
"""Operations that call a model, whose tokens are added up if the agent's span has none."""

AGENT: Final = ("gen_ai.agent.name", "agent.name")
WORKFLOW: Final = "gen_ai.workflow.name"
"""Name of the workflow; since release 0.1.0 a span of a workflow has it as ``gen_ai.agent.name``."""
VARIANT: Final = ("gen_ai.agent.version", "gen_ai.prompt.version", "llm.prompt_template.version", "prompt.id")
SESSION: Final = ("gen_ai.conversation.id", "session.id", "gen_ai.thread.id")
PROVIDER: Final = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
MODEL: Final = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
TOKENS_IN: Final = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.token_count.prompt",
    "llm.usage.prompt_tokens",
)
TOKENS_OUT: Final = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
    "llm.usage.completion_tokens",
)
COST: Final = ("crl.cost", "gen_ai.usage.cost", "llm.cost.total")
ERROR_TYPE: Final = "error.type"
CANCELLED: Final = frozenset(
    (
        *("CancelledError", "asyncio.CancelledError", "asyncio.exceptions.CancelledError", "AbortError"),
        *("cancelled", "canceled", "context canceled", "context.Canceled"),
        *("KeyboardInterrupt", "GeneratorExit", "SystemExit"),
    )
)
"""Values of ``error.type`` that mean that somebody stopped the work, which is no outcome."""
INSTANCE: Final = "service.instance.id"
"""Resource attribute that identifies the process; it becomes the runtime id."""

EVALUATION: Final = "gen_ai.evaluation.result"
"""Name of an event with the score of an evaluator."""
EVENT_NAME: Final = "event.name"
"""Attribute with a log event's name, before log records had a field for it."""
EVALUATION_NAME: Final = "gen_ai.evaluation.name"
EVALUATION_SCORE: Final = ("gen_ai.evaluation.score.value", "gen_ai.evaluation.score")

STATUS: Final = "crl.status"
"""``failure`` marks an invocation that ended without an error but did not do its job."""
RUNTIME: Final = "crl.runtime_id"
EPOCH: Final = "crl.active_epoch"
SOURCE: Final = "crl.variant_source"
ROLE: Final = "crl.role"
REWARD: Final = "crl.reward"
QUALITY: Final = "crl.quality"
COMPLEXITY: Final = "crl.complexity"
METRIC: Final = "crl.metric."
"""Prefix of the named numbers that guardrails can watch, such as ``crl.metric.tool_calls``."""
