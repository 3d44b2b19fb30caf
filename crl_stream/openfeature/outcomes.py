"""From OpenFeature's tracking events to outcomes and late scores."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from crl_stream.client.publisher import Publisher, utc_now
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.errors import InvalidMessage
from crl_stream.openfeature.evaluations import Evaluation, Evaluations
from crl_stream.openfeature.flags import Flag

FEEDBACK: Final = "feedback"
"""The last part of the name of an event that carries a late score: ``agent/task/feedback``."""
ABANDONED: Final = "abandoned"
"""A status that is counted and not published: the invocation was ended from outside."""
_MEASURED: Final = frozenset(
    {
        "status",
        "reward",
        "quality",
        "error_count",
        "duration_seconds",
        "complexity",
        "cost",
        "tokens_input",
        "tokens_output",
        "trace_id",
        "evaluator",
        "metrics",
        "provider",
        "model",
        "role",
        "timestamp",
        "runtime_id",
    }
)
"""Attributes of an outcome that are fields of the contract."""
_LINK: Final = frozenset({"variant_id", "epoch", "source", "invocation_id", "session_id"})
"""Attributes that say which evaluation an outcome belongs to, as in the metadata of the flag."""
_SCORE: Final = frozenset({"reward", "quality", "evaluator", "judge"})
"""Attributes of a late score that are fields of the contract."""


class Event(NamedTuple):
    """A tracking event about a task."""

    key: TaskKey
    is_feedback: bool
    session_id: str | None
    value: Any
    attributes: Mapping[str, Any]


def parse_event(name: str, session_id: str | None, value: Any, attributes: Mapping[str, Any]) -> Event | None:
    """Return the event, or None if it is an event of the application; raise ``InvalidMessage`` if it is neither."""
    if "/" not in name:
        return None
    try:
        flag = Flag.parse(name)
    except ValueError as error:
        raise InvalidMessage(f"The tracking event {error}.", hint="name it agent/task or agent/task/feedback") from None
    if flag.field not in {None, FEEDBACK}:
        raise InvalidMessage(
            f"The tracking event {name!r:.200} is neither an outcome nor feedback.",
            hint=f"name it {flag.key} or {flag.key}/{FEEDBACK}",
        )
    return Event(flag.key, flag.field == FEEDBACK, session_id, value, attributes)


def publish_outcome(publisher: Publisher, event: Event, evaluations: Evaluations) -> set[str]:
    """Publish one outcome; return the names of attributes that are not fields of the contract."""
    given = dict(event.attributes)
    status = given.pop("status", "success")
    link = _linked(event, evaluations)
    if status == ABANDONED:
        publisher.abandon()
        return set()
    fields = {name: given[name] for name in _MEASURED & given.keys()}
    if event.value is not None:
        fields.setdefault("quality", event.value)
    if link["session_id"] is None:
        del link["session_id"]
    publisher.invocation(event.key.agent_name, event.key.task_type, status=status, **link, **fields)
    return given.keys() - _MEASURED - _LINK


def publish_feedback(publisher: Publisher, event: Event, evaluations: Evaluations) -> set[str]:
    """Publish a score that became known after its outcome; return the names of attributes that were not used."""
    given = event.attributes
    invocation_id = given.get("invocation_id")
    if invocation_id is None:
        evaluation = evaluations.of(event.key, event.session_id)
        if evaluation is None:
            raise _unknown(event)
        invocation_id = evaluation.invocation_id
    quality = given.get("quality", event.value if "reward" not in given else None)
    publisher.publish(
        m.Feedback(
            schema_version=m.SCHEMA_VERSION,
            feedback_id=uuid.uuid4().hex,
            timestamp=utc_now(),
            agent_name=event.key.agent_name,
            task_type=event.key.task_type,
            invocation_id=invocation_id,
            reward=given.get("reward"),
            quality=quality,
            source=given.get("judge"),
            evaluator=given.get("evaluator"),
        )
    )
    return given.keys() - _SCORE - _LINK


def _linked(event: Event, evaluations: Evaluations) -> dict[str, Any]:
    """Return the fields that link an outcome to its evaluation: those given, else those of the evaluation itself."""
    given = event.attributes
    evaluation = evaluations.of(event.key, event.session_id)
    if "variant_id" in given:
        invocation_id = given.get("invocation_id") or uuid.uuid4().hex
        if evaluation is not None and evaluation.invocation_id == invocation_id:
            evaluation.tracked = True
        return {
            "variant_id": given["variant_id"],
            "active_epoch": given.get("epoch"),
            "variant_source": given.get("source"),
            "invocation_id": invocation_id,
            "session_id": given.get("session_id", event.session_id),
        }
    if evaluation is None:
        raise _unknown(event)
    return _of_evaluation(evaluation, given, event.session_id)


def _of_evaluation(evaluation: Evaluation, given: Mapping[str, Any], session_id: str | None) -> dict[str, Any]:
    # A second outcome of the same evaluation is another invocation: with the same id it would count as a duplicate.
    again, evaluation.tracked = evaluation.tracked, True
    return {
        "variant_id": evaluation.variant_id,
        "active_epoch": evaluation.epoch,
        "variant_source": evaluation.source,
        "invocation_id": given.get("invocation_id") or (uuid.uuid4().hex if again else evaluation.invocation_id),
        "session_id": evaluation.session_id or session_id,
    }


def _unknown(event: Event) -> InvalidMessage:
    session = "" if event.session_id is None else f" for the targeting key {event.session_id!r:.100}"
    return InvalidMessage(
        f"{event.key}: this process did not evaluate the flag{session}, so the variant of the tracked outcome is "
        "unknown.",
        hint="evaluate the flag first, or pass outcome_of(details)",
    )
