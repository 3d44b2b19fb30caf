"""Langfuse: scores of its public API, fetched page by page, as feedback.

Langfuse has no webhook per score. The fields are those of version 3 of ``scores`` in its API, as in release 5 of its
Python package. The older field names ``traceId`` and ``observationId`` of version 2 are read too.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import Field, SecretStr

from crl_stream.bridges.mapping import Fault, Mapped, fault
from crl_stream.bridges.names import derived_id, text_in
from crl_stream.bridges.polling import Fetched, Page
from crl_stream.bridges.scores import Score, ScoreOptions, feedback, mapping_in, milliseconds
from crl_stream.core.instant import to_text
from crl_stream.wire import reasons
from crl_stream.wire.records import Record

_PATH: Final = "/api/public/v3/scores"
_PER_PAGE: Final = 100


class LangfuseOptions(ScoreOptions):
    """``kind = "langfuse"``."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=500)]
    """Address of Langfuse, without /api."""
    public_key: Annotated[str, Field(pattern=r"^[^\s:]{1,200}$")]
    secret_key: SecretStr
    """Best set through CRL_BRIDGES_<NAME>_SECRET_KEY; never shown."""
    poll_seconds: Annotated[float, Field(ge=0.2, le=3_600.0)] = 10.0
    """Seconds between two polls."""
    overlap_minutes: Annotated[float, Field(ge=0.0, le=10_080.0)] = 60.0
    """A score that appears late is fetched only if it is at most this much older than the newest one."""
    start: Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z)?$")] = ""
    """At its first start, the bridge reads scores from this time on; empty: from the moment of the start."""
    timeout_seconds: Annotated[float, Field(gt=0.0, le=300.0)] = 20.0
    invocation_id: Literal["auto", "trace"] = "auto"
    """auto: trace id and observation id, or the trace id if the score is about a trace. trace: always the trace id."""

    def first_time(self, now: int) -> int:
        """Return the time of the first score that counts, in milliseconds."""
        return milliseconds(self.start) or now

    @property
    def overlap(self) -> int:
        """The overlap of two polls, in milliseconds."""
        return round(self.overlap_minutes * 60_000)


class _Pull:
    """How Langfuse is asked, and what its answers mean; pure."""

    @staticmethod
    def request(options: LangfuseOptions, since: int, following: str) -> tuple[str, dict[str, str]]:
        """Return the URL and the query for one page of the scores since a time (milliseconds)."""
        query = {
            "limit": str(_PER_PAGE),
            "fields": "details,subject",
            "name": options.evaluator,
            "fromTimestamp": to_text(max(0, since)),
        }
        return options.url.rstrip("/") + _PATH, query | ({"cursor": following} if following else {})

    @staticmethod
    def headers(options: LangfuseOptions) -> dict[str, str]:
        """Return the headers of every request: HTTP basic authentication with the two keys."""
        keys = f"{options.public_key}:{options.secret_key.get_secret_value()}"
        return {"Authorization": "Basic " + base64.b64encode(keys.encode()).decode()}

    @staticmethod
    def read(body: bytes) -> Page:
        """Return the page in an answer; raises ``ValueError`` if it is not one."""
        page = orjson.loads(body)
        data, meta = (page.get("data"), page.get("meta")) if isinstance(page, dict) else (None, None)
        if not isinstance(data, list) or not isinstance(meta, dict):
            raise ValueError("the answer has no data and meta")
        scores = []
        for one in data:
            if not isinstance(one, dict) or not isinstance(one.get("id"), str):
                raise ValueError("a score has no id")
            scores.append(Fetched(_version(one), milliseconds(one.get("timestamp")) or 0, orjson.dumps(one)))
        following = meta.get("cursor")
        return Page(scores, following if isinstance(following, str) else "")


def map_record(options: LangfuseOptions, record: Record) -> Mapped:
    """Return the feedback for one score."""
    if not record.value:
        return Mapped([], [])  # a record with nothing but a cursor
    try:
        score = orjson.loads(record.value)
    except orjson.JSONDecodeError as error:
        return fault(reasons.NOT_JSON, f"expected a score as JSON: {error}")
    if not isinstance(score, dict):
        return fault(reasons.NOT_AN_OBJECT, "expected a score")
    name = score.get("name")
    if not isinstance(name, str) or not options.scale.counts(name):
        return Mapped([], [], ignored=1)
    found = feedback(
        Score(
            id=derived_id("langfuse", _version(score)),
            value=_value(score),
            time=text_in(score.get("timestamp")) or "",
            invocation_id=_invocation(score, options),
            metadata=mapping_in(score.get("metadata")),
            source=score.get("source"),
            where=f"score {str(score.get('id'))[:60]}",
        ),
        options,
        record.timestamp,
    )
    return Mapped([], [found]) if isinstance(found, Fault) else Mapped([found], [])


def _version(score: Mapping[str, Any]) -> str:
    """Return what identifies a score and its present value: an edited score is a new one."""
    return "\0".join(str(score.get(name)) for name in ("id", "updatedAt", "value"))


def _value(score: Mapping[str, Any]) -> Any:
    value = score.get("value")
    # Version 2 of the API gives truth values as 0 and 1.
    return bool(value) if score.get("dataType") == "BOOLEAN" and value in (0, 1) else value


def _invocation(score: Mapping[str, Any], options: LangfuseOptions) -> str | None:
    subject = mapping_in(score.get("subject"))
    kind, own = subject.get("kind"), text_in(subject.get("id"))
    trace = text_in(subject.get("traceId")) or (own if kind == "trace" else None) or text_in(score.get("traceId"))
    observation = (own if kind == "observation" else None) or text_in(score.get("observationId"))
    if trace is None or observation is None or options.invocation_id == "trace":
        return trace
    return f"{trace}-{observation}"


OPTIONS = LangfuseOptions
MAP = map_record
ARRIVES: Final = "pull"
PULL: Final = _Pull()
