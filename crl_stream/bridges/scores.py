"""Scores of other systems as feedback: which invocation a score is about, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field

from crl_stream.bridges.mapping import Fault, Message
from crl_stream.bridges.names import bounded, mended_all, text_in
from crl_stream.bridges.options import OwnName, ScoredOptions
from crl_stream.bridges.scale import number_in
from crl_stream.core import messages as m
from crl_stream.core.instant import from_text, to_text
from crl_stream.wire import reasons

_FOREIGN: Final = 256
_SOURCE: Final = 200
_KEYS: Final = ("crl.{}", "crl_{}", "{}")
"""How the metadata of other systems may spell our fields."""


class ScoreOptions(ScoredOptions):
    """Settings of a bridge whose records are scores."""

    agent_name: OwnName = ""
    """The agent of every score that does not name one in its metadata."""
    task_type: OwnName = ""
    """The task of every score that does not name one in its metadata."""
    evaluator: Annotated[str, Field(min_length=1, max_length=200)]
    """Name of the score that measures quality; all others are ignored."""


class Score(NamedTuple):
    """One score, whatever system it is from."""

    id: str
    """Our id for it: the same for the same score with the same value."""
    value: Any
    time: str
    invocation_id: str | None
    """Id of the invocation, unless the metadata names it."""
    metadata: Mapping[str, Any]
    source: Any
    where: str
    """How messages to people name the score."""


def feedback(score: Score, options: ScoreOptions, received: int) -> Message | Fault:
    """Return the feedback for a score; ``received`` is the time of its record in milliseconds."""
    quality = _quality(score, options)
    if isinstance(quality, Fault):
        return quality
    metadata = score.metadata
    found = {
        "agent_name": _named(metadata, "agent_name") or options.agent_name or None,
        "task_type": _named(metadata, "task_type") or options.task_type or None,
        "invocation_id": _named(metadata, "invocation_id") or score.invocation_id,
    }
    missing = f"neither {score.where} nor the settings name it"
    fields = mended_all({field: (text, missing) for field, text in found.items()}, score.where)
    if isinstance(fields, Fault):
        return fields
    message = m.Feedback(
        schema_version=1,
        feedback_id=score.id,
        timestamp=_time(score.time, received),
        quality=quality,
        source=bounded(score.source, _SOURCE),
        evaluator=bounded(options.evaluator, _FOREIGN),
        **fields,
    )
    return Message(message)


def _quality(score: Score, options: ScoreOptions) -> float | Fault:
    if isinstance(score.value, bool):
        return 1.0 if score.value else 0.0
    number = number_in(score.value)
    if number is None:
        return Fault(reasons.WRONG_TYPE, f"quality: {score.where} is not a number, and only numbers have a scale")
    quality = options.scale.quality(number)
    if quality is None:
        least, most = options.score_min, options.score_max
        return Fault(reasons.OUT_OF_RANGE, f"quality: {score.where} is {number}, outside of {least} to {most}")
    return quality


def _named(metadata: Mapping[str, Any], field: str) -> str | None:
    return next((text for key in _KEYS if (text := text_in(metadata.get(key.format(field)))) is not None), None)


def _time(text: str, received: int) -> str:
    found = milliseconds(text)
    return to_text(max(0, received) if found is None else found)


def milliseconds(text: Any) -> int | None:
    """Return a time in RFC 3339, with any offset or none for UTC, in milliseconds; None if it is not a time."""
    if not isinstance(text, str):
        return None
    has_offset = text.endswith("Z") or "+" in text[10:] or "-" in text[10:]
    try:
        return from_text(text if has_offset else f"{text}Z")
    except (ValueError, OverflowError):
        return None


def mapping_in(value: Any) -> Mapping[str, Any]:
    """Return ``value`` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}
