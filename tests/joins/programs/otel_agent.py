"""An agent that reports with OpenTelemetry only; runs with the packages of ``requirements/bridges.txt``.

It reads one JSON object per line and does that many turns: ``{"turns": 3, "variant": "steady", "fails": ["bold"]}``.
Without ``variant`` it uses the active one. The spans go to Kafka in the form in which the Collector's Kafka exporter
writes them, or to a real Collector (``--to http://...``). It answers each line with one line.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import sys
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode

from crl_stream.client import Resolver

TASK = ("refund-agent", "refund")


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


def turn(tracer: Any, variant: str, fails: bool, more: dict[str, Any]) -> None:
    """Do one turn: a span of the remote agent, around one of the framework, around one of the model."""
    name, task = TASK
    attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name, "gen_ai.agent.version": variant}
    outer = attributes | {"crl.task_type": task, "gen_ai.conversation.id": "conversation-1"} | more
    with tracer.start_as_current_span(f"invoke_agent {name}", kind=SpanKind.CLIENT, attributes=outer) as span:
        with tracer.start_as_current_span("invoke_agent", kind=SpanKind.INTERNAL, attributes=attributes):
            chat = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "model-1", "gen_ai.system": "local"}
            with tracer.start_as_current_span("chat", attributes=chat):
                pass
        span.set_attributes({"gen_ai.usage.input_tokens": 120, "gen_ai.usage.output_tokens": 30})
        if fails:
            span.set_attribute("error.type", "ToolError")
            span.set_status(Status(StatusCode.ERROR, "the tool does not exist"))


def main() -> None:
    """Answer each line with the variant and epoch that each turn used."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--topic", default="otlp_spans")
    parser.add_argument("--encoding", default="otlp_proto")
    parser.add_argument("--to", default="", help="URL of a Collector; by default the spans go to Kafka directly")
    parser.add_argument("--kafka", required=True)
    given = parser.parse_args()
    exporter: SpanExporter = KafkaExporter(given.kafka, given.topic, given.encoding)
    if given.to:
        exporter = OTLPSpanExporter(endpoint=f"{given.to}/v1/traces")
    provider = TracerProvider(resource=Resource.create({"service.name": "refunds", "service.instance.id": "runtime-1"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("refunds")
    with Resolver() as resolver:
        resolver.wait_until_ready(30)
        for line in sys.stdin:
            order = json.loads(line)
            if "epoch" in order and not resolver.wait_for_epoch(*TASK, order["epoch"], timeout=30):
                raise SystemExit(f"epoch {order['epoch']} did not arrive")
            done = []
            for _ in range(order["turns"]):
                found = resolver.resolve(*TASK, default="steady")
                variant = order.get("variant", found.variant_id)
                more = {} if found.epoch is None else {"crl.active_epoch": found.epoch}
                if "variant" in order:
                    more["crl.variant_source"] = "explore"
                turn(tracer, variant, variant in order.get("fails", ()), more)
                done.append([variant, found.epoch])
            provider.force_flush(30_000)
            sys.stdout.write(json.dumps(done) + "\n")
            sys.stdout.flush()
    provider.shutdown()


if __name__ == "__main__":
    main()
