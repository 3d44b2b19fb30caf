"""Prints the same outcome in every form that a bridge reads, made with the real packages.

One line with a list of ``[form, headers, value]``; header values and the value are in base64. The forms are OTLP as
JSON and as Protocol Buffers, OpenInference's attributes, and CloudEvents in structured and binary mode.
"""

from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime
from typing import Any

from cloudevents.core.bindings.kafka import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from openinference.semconv.trace import OpenInferenceSpanKindValues, SpanAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import set_span_in_context
from otel_agent import as_json

START = 1_763_562_600_000_000_000
SECONDS = 3
AGENT, TASK, VARIANT = "refund-agent", "refund", "steady"


def spans(attributes: dict[str, Any], calls: dict[str, Any]) -> Any:
    """Return a span of an agent around a call of a model, as the SDK encodes them."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.get_empty())  # an id of the process would be the runtime's
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("refunds")
    outer = tracer.start_span("agent", start_time=START, attributes=attributes)
    inner = tracer.start_span("call", context=set_span_in_context(outer), start_time=START + 1, attributes=calls)
    inner.end(START + 2)
    outer.end(START + SECONDS * 1_000_000_000)
    return encode_spans(exporter.get_finished_spans())


def open_telemetry() -> Any:
    """Return spans with the attributes of OpenTelemetry."""
    own = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": AGENT,
        "gen_ai.agent.version": VARIANT,
        "gen_ai.conversation.id": "conversation-1",
        "crl.task_type": TASK,
    }
    calls = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "local", "gen_ai.request.model": "model-1"}
    return spans(own, calls | {"gen_ai.usage.input_tokens": 120, "gen_ai.usage.output_tokens": 30})


def open_inference() -> Any:
    """Return spans with the attributes of OpenInference."""
    own = {
        SpanAttributes.OPENINFERENCE_SPAN_KIND: OpenInferenceSpanKindValues.AGENT.value,
        SpanAttributes.AGENT_NAME: AGENT,
        SpanAttributes.SESSION_ID: "conversation-1",
        "crl.task_type": TASK,
    }
    calls = {
        SpanAttributes.OPENINFERENCE_SPAN_KIND: OpenInferenceSpanKindValues.LLM.value,
        SpanAttributes.LLM_PROMPT_TEMPLATE_VERSION: VARIANT,
        SpanAttributes.LLM_PROVIDER: "local",
        SpanAttributes.LLM_MODEL_NAME: "model-1",
        SpanAttributes.LLM_TOKEN_COUNT_PROMPT: 120,
        SpanAttributes.LLM_TOKEN_COUNT_COMPLETION: 30,
    }
    return spans(own, calls)


def cloud_event(number: int) -> CloudEvent:
    """Return the outcome as an event."""
    finished = datetime.fromtimestamp(START / 1e9 + SECONDS, UTC)
    data = {
        "variant_id": VARIANT,
        "status": "success",
        "duration_seconds": SECONDS,
        "session_id": "conversation-1",
        "provider": "local",
        "model": "model-1",
        "tokens_input": 120,
        "tokens_output": 30,
    }
    attributes = {
        "id": f"event-{number}",
        "source": "/refunds",
        "type": "crl.Invocation.v1",
        "specversion": "1.0",
        "time": finished,
        "subject": f"{AGENT}/{TASK}",
        "datacontenttype": "application/json",
    }
    return CloudEvent(attributes=attributes, data=data)


def main() -> None:
    """Print every form."""
    forms: list[tuple[str, dict[str, bytes], bytes]] = [
        ("otlp_json", {}, as_json(open_telemetry())),
        ("otlp_proto", {}, open_telemetry().SerializeToString()),
        ("openinference", {}, open_inference().SerializeToString()),
    ]
    for name, event in (
        ("structured", to_structured_event(cloud_event(1))),
        ("binary", to_binary_event(cloud_event(2))),
    ):
        forms.append((name, event.headers, event.value))
    shown = [
        [name, {k: base64.b64encode(v).decode() for k, v in headers.items()}, base64.b64encode(value).decode()]
        for name, headers, value in forms
    ]
    sys.stdout.write(json.dumps(shown))


if __name__ == "__main__":
    main()
