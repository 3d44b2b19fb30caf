"""An agent that reports with spans only; runs with the packages of ``requirements/bridges.txt``.

``told.py`` says what its stdin may ask. The spans have the attributes of OpenTelemetry or of OpenInference. They go to
Kafka in the form in which the Collector's Kafka exporter writes them, or to a real Collector (``--to http://...``).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from google.protobuf.json_format import MessageToDict
from openinference.semconv.trace import OpenInferenceSpanKindValues, SpanAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode
from told import TASK, Turn, work

SESSION = "conversation-1"


def as_json(message: Any) -> bytes:
    """Return OTLP as the Collector writes it as JSON: ids in hex, which protobuf's own JSON has in base64."""
    page = MessageToDict(message, use_integers_for_enums=True)
    for whole in page["resourceSpans"]:
        for scope in whole["scopeSpans"]:
            for span in scope["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = base64.b64decode(span[name]).hex()
    return json.dumps(page).encode()


class KafkaExporter(SpanExporter):
    """Writes each export as one record without a key, like the Collector."""

    def __init__(self, bootstrap_servers: str, topic: str, encoding: str) -> None:
        self.bootstrap_servers, self.topic, self.encoding = bootstrap_servers, topic, encoding

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        message = encode_spans(spans)
        value = as_json(message) if self.encoding == "otlp_json" else message.SerializeToString()
        asyncio.run(self._send(value))
        return SpanExportResult.SUCCESS

    async def _send(self, value: bytes) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap_servers, acks="all")
        await producer.start()
        try:
            await producer.send_and_wait(self.topic, value)
        finally:
            await producer.stop()

    def shutdown(self) -> None:
        """Do nothing: every export closes its connection."""


def of_open_telemetry(tracer: Any, turn: Turn, more: dict[str, Any]) -> None:
    """Report a turn: a span of the remote agent, around one of the framework, around one of the model."""
    name, task = TASK
    own = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name, "gen_ai.agent.version": turn.variant}
    outer = own | {"crl.task_type": task, "gen_ai.conversation.id": SESSION} | more
    with tracer.start_as_current_span(f"invoke_agent {name}", kind=SpanKind.CLIENT, attributes=outer) as span:
        with tracer.start_as_current_span("invoke_agent", kind=SpanKind.INTERNAL, attributes=own):
            chat = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "model-1", "gen_ai.system": "local"}
            with tracer.start_as_current_span("chat", attributes=chat):
                pass
        span.set_attributes({"gen_ai.usage.input_tokens": 120, "gen_ai.usage.output_tokens": 30})
        if turn.fails:
            span.set_attribute("error.type", "ToolError")
            span.set_status(Status(StatusCode.ERROR, "the tool does not exist"))


def of_open_inference(tracer: Any, turn: Turn, more: dict[str, Any]) -> None:
    """Report a turn: a span of the agent, around one of the model, which names the version of the prompt."""
    name, task = TASK
    outer = {
        SpanAttributes.OPENINFERENCE_SPAN_KIND: OpenInferenceSpanKindValues.AGENT.value,
        SpanAttributes.AGENT_NAME: name,
        SpanAttributes.SESSION_ID: SESSION,
        "crl.task_type": task,
    }
    calls = {
        SpanAttributes.OPENINFERENCE_SPAN_KIND: OpenInferenceSpanKindValues.LLM.value,
        SpanAttributes.LLM_PROMPT_TEMPLATE_VERSION: turn.variant,
        SpanAttributes.LLM_PROVIDER: "local",
        SpanAttributes.LLM_MODEL_NAME: "model-1",
        SpanAttributes.LLM_TOKEN_COUNT_PROMPT: 120,
        SpanAttributes.LLM_TOKEN_COUNT_COMPLETION: 30,
    }
    with tracer.start_as_current_span("agent", attributes=outer | more) as span:
        with tracer.start_as_current_span("call", attributes=calls):
            pass
        if turn.fails:
            span.set_status(Status(StatusCode.ERROR, "the tool does not exist"))


REPORTS = {"opentelemetry": of_open_telemetry, "openinference": of_open_inference}


def main() -> None:
    """Report each turn as a trace."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--topic", default="otlp_spans")
    parser.add_argument("--encoding", default="otlp_proto")
    parser.add_argument("--attributes", choices=REPORTS, default="opentelemetry")
    parser.add_argument("--to", default="", help="URL of a Collector; by default the spans go to Kafka directly")
    parser.add_argument("--no-runtime", action="store_true", help="report no id of the process")
    parser.add_argument("--no-epoch", action="store_true", help="report no epoch, so there is no receipt")
    parser.add_argument("--kafka", required=True)
    given = parser.parse_args()
    exporter: SpanExporter = KafkaExporter(given.kafka, given.topic, given.encoding)
    if given.to:
        exporter = OTLPSpanExporter(endpoint=f"{given.to}/v1/traces")
    named = {} if given.no_runtime else {"service.instance.id": "runtime-1"}
    provider = TracerProvider(resource=Resource({"service.name": "refunds"} | named))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("refunds")

    def report(turn: Turn) -> None:
        more: dict[str, Any] = {} if given.no_epoch or turn.epoch is None else {"crl.active_epoch": turn.epoch}
        if turn.explores:
            more["crl.variant_source"] = "explore"
        REPORTS[given.attributes](tracer, turn, more)

    work(report, lambda: provider.force_flush(30_000))
    provider.shutdown()


if __name__ == "__main__":
    main()
