"""LangSmith: the webhook of an automation rule, whose runs carry the averages of their feedback.

The shapes are those that LangSmith documents for webhooks of rules. A rule sends a run when it matches, and again when
it matches again; the same averages give the same ids, so they count once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import orjson
from pydantic import Field, SecretStr

from crl_stream.bridges.mapping import Fault, Mapped, Message, fault
from crl_stream.bridges.names import derived_id, text_in
from crl_stream.bridges.scores import Score, ScoreOptions, feedback, mapping_in
from crl_stream.wire import reasons
from crl_stream.wire.records import Record

_SHORTEST_SECRET: Final = 16


class LangSmithOptions(ScoreOptions):
    """``kind = "langsmith"``."""

    port: Annotated[int, Field(ge=1, le=65_535)]
    """Port on 127.0.0.1 where the webhook is received; a proxy in front of it makes it reachable."""
    secret: Annotated[SecretStr, Field(min_length=_SHORTEST_SECRET)]
    """What the rule sends in the header X-CRL-Secret; best set through CRL_BRIDGES_<NAME>_SECRET; never shown."""
    requests_per_second: Annotated[float, Field(gt=0.0, le=10_000.0)] = 20.0
    """Requests above this rate are refused with 429, and LangSmith tries again."""


def map_record(options: LangSmithOptions, record: Record) -> Mapped:
    """Return the feedback in one call of the webhook."""
    if not record.value:
        return fault(reasons.NULL_VALUE, "the call has no body")
    try:
        page = orjson.loads(record.value)
    except orjson.JSONDecodeError as error:
        return fault(reasons.NOT_JSON, f"expected the webhook's JSON: {error}")
    runs = page.get("runs") if isinstance(page, dict) else None
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        return fault(reasons.MISSING_FIELD, "runs: expected an object with a list of runs")
    mapped = Mapped([], [])
    for run in runs:
        for found in _scores(run, options, record.timestamp):
            if isinstance(found, Message):
                mapped.messages.append(found)
            else:
                mapped.faults.append(found)
    return mapped._replace(ignored=max(0, len(runs) - len(mapped.messages) - len(mapped.faults)))


def _scores(run: Mapping[str, Any], options: LangSmithOptions, received: int) -> Iterator[Message | Fault]:
    """Yield the feedback for one run."""
    run_id = text_in(run.get("id"))
    for name, stats in mapping_in(run.get("feedback_stats")).items():
        count = mapping_in(stats).get("n")
        average = mapping_in(stats).get("avg")
        if not options.scale.counts(name) or not count or average is None:
            continue
        metadata = mapping_in(mapping_in(run.get("extra")).get("metadata"))
        score = Score(
            id=derived_id("langsmith", run_id, name, count, average),
            value=average,
            time=text_in(run.get("modified_at")) or text_in(run.get("end_time")) or "",
            invocation_id=run_id,
            metadata=metadata,
            source=name,
            where=f"feedback {name[:40]!r} of run {run_id}",
        )
        yield feedback(score, options, received)


OPTIONS = LangSmithOptions
MAP = map_record
ARRIVES: Final = "push"
