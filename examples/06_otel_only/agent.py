"""An agent that reports its outcomes with OpenTelemetry only: README.md in this folder says how to run it.

Only the two lines marked `# follows` are about crl-stream: they ask which variant to use. The spans are those that any
instrumentation of agents makes.
"""

from __future__ import annotations

import argparse
import time

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode

from crl_stream.client import Resolver

arguments = argparse.ArgumentParser()
arguments.add_argument("--turns", type=int, default=30, help="how many turns to do")
arguments.add_argument("--breaks", default="", help="a variant that fails, as after a bad change of its prompt")
given = arguments.parse_args()

provider = TracerProvider(resource=Resource.create({"service.name": "refunds", "service.instance.id": "refunds-1"}))
# The default is 5 s. Many turns that arrive after a rollback at once look like those of a runtime that is stuck.
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=100))
tracer = provider.get_tracer("refunds")

with Resolver() as resolver:  # follows
    resolver.wait_until_ready()
    for number in range(given.turns):
        found = resolver.resolve("refund-agent", "refund", default="careful")  # follows
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "refund-agent",
            "gen_ai.agent.version": found.variant_id,
            "crl.task_type": "refund",
        }
        if found.epoch is not None:
            attributes["crl.active_epoch"] = found.epoch  # with service.instance.id, this gets the receipt
        with tracer.start_as_current_span("invoke_agent refund-agent", attributes=attributes) as span:
            time.sleep(0.1)  # your agent works here
            if found.variant_id == given.breaks:
                span.set_attribute("error.type", "ToolError")
                span.set_status(Status(StatusCode.ERROR))
        print(f"turn {number + 1}: {found.variant_id} (epoch {found.epoch})", flush=True)
provider.shutdown()
