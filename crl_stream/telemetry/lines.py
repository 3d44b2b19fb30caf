"""Builds the lines of both files: the guide's fields in the guide's order, then the fields that our readers also need.

A line has at most 1 KB (rollbacks) or 2 KB (proposals). A longer one is shortened, its least important part first, and
marked with ``"shortened": true``; the topic keeps it whole. Names, ids, epoch and status are never shortened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.reach import last_time_words

ROLLBACK_BYTES: Final = 1_024
"""Maximum length of a line of ``rollback_events.jsonl`` in bytes, including the line feed."""
PROPOSAL_BYTES: Final = 2_048
"""Maximum length of a line of ``variant_proposals.jsonl`` in bytes, including the line feed."""
_DIGITS: Final = 6
"""Number of decimal places. The engine counts rewards in millionths, so more digits would be meaningless."""
_COUNTS: Final = ("sample_size", "n_invocations")
"""Parameters that the guide writes without decimals."""

Fields = dict[str, Any]
_Step = Callable[[Fields], None]


def rollback_line(event: m.RollbackEvent) -> bytes:
    """Return the line of a rollback, including the line feed."""
    fields: Fields = {
        "rollback_id": event.rollback_id,
        "timestamp": event.timestamp,
        "agent_name": event.agent_name,
        "task_type": event.task_type,
        "from_variant": event.from_variant,
        "to_variant": event.to_variant,
        "reason": event.reason,
        "degradation_metrics": _figures(event.degradation_metrics),
        "epoch": event.epoch,
        "event_id": event.rollback_id,
        "enforced": event.enforced,
        "cause_id": event.cause_id,
        "undo_command": event.undo_command,
        **_reach(event),
        "position": {"partition": event.position.partition, "offset": event.position.offset},
        "policy_hash": event.policy_hash,
        "engine_version": event.engine_version,
    }
    return _fit(fields, ROLLBACK_BYTES, _ROLLBACK_STEPS)


def proposal_line(proposal: m.Proposal) -> bytes:
    """Return the line of one step of a proposal, including the line feed."""
    last = proposal.history[-1] if proposal.history else None
    fields: Fields = {
        "proposal_id": proposal.proposal_id,
        "timestamp": proposal.timestamp,
        "agent_name": proposal.agent_name,
        "task_type": proposal.task_type,
        "proposal_type": proposal.proposal_type,
        "reasoning": proposal.reasoning,
        "confidence": round(proposal.confidence, _DIGITS),
        "supporting_data": _figures(proposal.supporting_data),
        "recommended_modifications": msgspec.to_builtins(proposal.recommended_modifications),
        "status": proposal.status,
        "epoch": proposal.epoch,
        "event_id": proposal_event_id(proposal),
        "revision": proposal.revision,
        "updated_at": proposal.timestamp if last is None else last.timestamp,
        "actor": None if last is None else last.actor,
        "status_reason": "" if last is None else last.reason,
        "tracker_type": proposal.tracker_type,
        "trigger": proposal.trigger,
        "target_variant": proposal.target_variant,
        "expires_at": proposal.expires_at,
        "change": msgspec.to_builtins(proposal.change),
        "undo_command": proposal.undo_command,
        **_reach(proposal),
        "position": {"partition": proposal.position.partition, "offset": proposal.position.offset},
        "engine_version": proposal.engine_version,
    }
    if (filing := proposal.filing) is not None:
        evidence = {} if filing.evidence is None else msgspec.to_builtins(filing.evidence)
        fields |= {"source": filing.source, "filed_by": filing.actor, "evidence": evidence}
    return _fit(fields, PROPOSAL_BYTES, _PROPOSAL_STEPS)


def _reach(message: m.RollbackEvent | m.Proposal) -> Fields:
    """Return what a message touches, and what happened last time in words; null if its engine did not say it.

    The words are a third as long as the object on the topic, so that a usual line need not be shortened.
    """
    return {
        "touches": None if message.touches is None else msgspec.to_builtins(message.touches),
        "last_time": last_time_words(message.last_time) or None,
    }


def proposal_event_id(proposal: m.Proposal) -> str:
    """Return the id of one step of a proposal, which is unique by proposal, status and revision."""
    return f"{proposal.proposal_id}:{proposal.status}:{proposal.revision}"


def _figures(figures: dict[str, float]) -> dict[str, float]:
    return {
        name: int(value) if name in _COUNTS and value == int(value) else round(value, _DIGITS)
        for name, value in figures.items()
    }


def _fit(fields: Fields, limit: int, steps: Sequence[_Step]) -> bytes:
    line = _text(fields) + b"\n"
    for step in steps:
        if len(line) <= limit:
            break
        step(fields)
        fields["shortened"] = True
        line = _text(fields) + b"\n"
    return line


def _text(value: Any) -> bytes:
    # A parameter may be any JSON value, even a number with 100 digits, which faster encoders refuse.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _shorten(value: Any, bytes_: int) -> Any:
    """Cut long texts to about ``bytes_`` bytes of JSON, between characters; leave other values unchanged."""
    if not isinstance(value, str) or len(_text(value)) - 2 <= bytes_:
        return value
    # A character takes at least one byte, and up to six if JSON escapes it.
    kept = value[:bytes_]
    while kept and len(_text(kept)) - 2 > bytes_ - 3:
        kept = kept[: min(len(kept) - 1, len(kept) * bytes_ // (len(_text(kept)) + 1))]
    return f"{kept}…"


def _without(*names: str) -> _Step:
    def step(fields: Fields) -> None:
        for name in names:
            fields.pop(name, None)

    return step


def _texts(bytes_: int, *names: str) -> _Step:
    def step(fields: Fields) -> None:
        for name in names:
            if name in fields:
                fields[name] = _shorten(fields[name], bytes_)

    return step


def _first_figures(name: str, count: int) -> _Step:
    def step(fields: Fields) -> None:
        fields[name] = dict(list(fields[name].items())[:count])

    return step


def _modifications(count: int, bytes_: int) -> _Step:
    """Return a step that keeps ``count`` modifications and cuts their texts; values that cannot be cut are left out."""

    def step(fields: Fields) -> None:
        shown = []
        for modification in fields["recommended_modifications"][:count]:
            cut = {name: _shorten(value, bytes_) for name, value in modification.items()}
            shown.append({name: value for name, value in cut.items() if len(_text(value)) <= 2 * bytes_})
        left_out = fields.get("modifications_left_out", 0) + len(fields["recommended_modifications"]) - len(shown)
        fields["recommended_modifications"] = shown
        if left_out:
            fields["modifications_left_out"] = left_out

    return step


def _change_in_short(fields: Fields) -> None:
    # The line lists the modifications already. An approval applies the complete ones, which are on the topic.
    kept = ("action", "variant_id", "parent", "temperature", "ref")
    fields["change"] = {name: value for name, value in fields["change"].items() if name in kept}


_ROLLBACK_STEPS: Final[tuple[_Step, ...]] = (
    _without("policy_hash", "engine_version"),
    _without("last_time"),
    _without("touches", "undo_command"),
    _first_figures("degradation_metrics", 4),
    _texts(120, "reason"),
    _without("position"),
    _without("cause_id", "enforced"),
    _first_figures("degradation_metrics", 0),
    _texts(20, "reason"),
)
_PROPOSAL_STEPS: Final[tuple[_Step, ...]] = (
    _change_in_short,
    _texts(400, "reasoning", "status_reason"),
    _modifications(8, 160),
    _modifications(4, 100),
    _texts(160, "reasoning", "status_reason", "actor", "filed_by"),
    _modifications(2, 60),
    _without("engine_version", "position", "evidence", "last_time"),
    _without("touches", "undo_command"),
    _modifications(0, 0),
    _texts(60, "reasoning", "status_reason", "actor", "filed_by", "source"),
    _without("change"),
    _first_figures("supporting_data", 4),
    _first_figures("supporting_data", 0),
)
