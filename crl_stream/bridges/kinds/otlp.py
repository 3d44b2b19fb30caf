"""OpenTelemetry: spans and log events from the Collector's Kafka exporter, with the names of OpenInference too."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import Field

from crl_stream.bridges import otlp_json, otlp_proto
from crl_stream.bridges.agents import Rules, map_events, map_spans
from crl_stream.bridges.mapping import Mapped, fault
from crl_stream.bridges.options import OwnName, ScoredOptions, TopicName
from crl_stream.bridges.protobuf import Malformed
from crl_stream.wire import reasons
from crl_stream.wire.records import Record, UnreadBatch

AttributeName = Annotated[str, Field(max_length=200)]
_TOPICS: Final = {"traces": "otlp_spans", "logs": "otlp_logs"}
_OBJECT: Final = b"{"


class OtlpOptions(ScoredOptions):
    """``kind = "otlp"``."""

    signal: Literal["traces", "logs"] = "traces"
    """What the topic contains: spans, or log records with evaluation results."""
    topic: TopicName | None = None
    """The Collector's topic; by default otlp_spans for traces and otlp_logs for logs."""
    encoding: Literal["auto", "otlp_json", "otlp_proto"] = "auto"
    """The exporter's encoding; auto tells them apart by the first byte."""
    agent_attribute: AttributeName = ""
    """Attribute with the agent's name; if it is absent, gen_ai.agent.name or agent.name."""
    task_attribute: AttributeName = "crl.task_type"
    """Attribute with the task type; if it is absent, the workflow's name, then default_task_type."""
    variant_attribute: AttributeName = "crl.variant_id"
    """Attribute with the variant; if it is absent, the version of agent or prompt, then default_variant."""
    default_task_type: OwnName = ""
    default_variant: OwnName = ""
    invocation_id: Literal["span", "trace"] = "span"
    """span: the ids of trace and span. trace: the trace id, if a trace has one invocation per task."""

    def source(self) -> str:
        """Return the Collector's topic."""
        return self.topic or _TOPICS[self.signal]

    @property
    def rules(self) -> Rules:
        """How the fields of an invocation are found."""
        return Rules(
            scale=self.scale,
            agent=self.agent_attribute,
            task=self.task_attribute,
            variant=self.variant_attribute,
            default_task=self.default_task_type,
            default_variant=self.default_variant,
            by_trace=self.invocation_id == "trace",
        )


def map_record(options: OtlpOptions, record: Record) -> Mapped:
    """Return the invocations, or for logs the feedback, in one record of the Collector."""
    if type(record) is UnreadBatch:
        return fault(record.reason, record.detail)
    value = record.value
    if not value:
        return fault(reasons.NULL_VALUE, "the record has no value; expected OTLP")
    traces = options.signal == "traces"
    as_json = options.encoding == "otlp_json" or (options.encoding == "auto" and value[:64].lstrip()[:1] == _OBJECT)
    try:
        found: Any
        if as_json:
            page = orjson.loads(value)
            if not isinstance(page, dict):
                return fault(reasons.NOT_AN_OBJECT, "expected an OTLP object")
            found = otlp_json.read_spans(page) if traces else otlp_json.read_events(page)
        else:
            found = otlp_proto.read_spans(value) if traces else otlp_proto.read_events(value)
    except orjson.JSONDecodeError as error:
        return fault(reasons.NOT_JSON, f"expected OTLP as JSON: {error}")
    except Malformed as error:
        return fault(reasons.NOT_OTLP, f"expected OTLP: {error}")
    read = map_spans if traces else map_events
    return read(found, options.rules, record.timestamp)


OPTIONS = OtlpOptions
MAP = map_record
ARRIVES: Final = "kafka"
