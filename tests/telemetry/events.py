"""Rollbacks and proposals for tests: those of the guide, and any number of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from crl_stream.core import messages as m
from crl_stream.wire.codec import encode

EXAMPLES = Path(__file__).resolve().parents[2] / "topics" / "examples"

GUIDE_ROLLBACK = {
    "rollback_id": "rb-20251119-abc123",
    "timestamp": "2025-11-19T14:30:00Z",
    "agent_name": "backend-architect",
    "task_type": "api-design",
    "from_variant": "api-optimized",
    "to_variant": "default",
    "reason": "Success rate dropped from 90% to 75% (16.7% drop)",
    "degradation_metrics": {
        "baseline_success_rate": 0.90,
        "recent_success_rate": 0.75,
        "success_drop_pct": 0.167,
        "sample_size": 20,
    },
}
"""From the guide's "Rollback Event Schema"."""
GUIDE_PROPOSAL = {
    "proposal_id": "prop-20251119-xyz789",
    "timestamp": "2025-11-19T14:30:00Z",
    "agent_name": "backend-architect",
    "task_type": "security-audit",
    "proposal_type": "create_specialized_variant",
    "reasoning": "Security-audit tasks show 15% lower performance with default variant.\n"
    "Suggest creating security-focused variant.\n",
    "confidence": 0.75,
    "supporting_data": {
        "n_invocations": 67,
        "avg_q_default": 0.65,
        "potential_improvement": 0.15,
        "variance": 0.12,
    },
    "recommended_modifications": [
        {
            "section": "Core Identity",
            "operation": "append",
            "content": "Special focus on security vulnerabilities...",
        },
        {
            "parameter": "temperature",
            "value": 0.2,
            "reason": "Lower temperature for precise security analysis",
        },
    ],
    "status": "pending",
}
"""From the guide's "Proposal Schema"."""


def _example(topic: str, name: str, kind: Any, fields: dict[str, Any]) -> Any:
    text = (EXAMPLES / topic / f"{name}.json").read_text(encoding="utf-8")
    return msgspec.convert(json.loads(text) | fields, kind)


def a_rollback(number: int = 0, **fields: Any) -> m.RollbackEvent:
    """Return the guide's rollback; each ``number`` makes a different event, ``number`` hours later."""
    own = {
        "rollback_id": f"rb-20251119-{number:06x}",
        "timestamp": _later(number),
        "position": {"partition": 0, "offset": number},
    }
    event: m.RollbackEvent = _example("crl.rollbacks", "RollbackEvent", m.RollbackEvent, GUIDE_ROLLBACK | own | fields)
    return event


def a_proposal(number: int = 0, *, status: str = "pending", revision: int = 1, **fields: Any) -> m.Proposal:
    """Return the guide's proposal as it was at one step of its life; ``number`` is the hour at which it was made."""
    at = _later(number)
    history = [
        {
            "revision": revision,
            "status": status,
            "timestamp": fields.pop("updated_at", at),
            "reason": fields.pop("why", "50 invocations, Q-value 0.56"),
            "actor": fields.pop("actor", None),
        }
    ]
    own = {"proposal_id": f"prop-20251119-{number:06x}", "timestamp": at, "history": history}
    step = {"status": status, "revision": revision}
    proposal: m.Proposal = _example("crl.proposals", "Proposal", m.Proposal, GUIDE_PROPOSAL | own | step | fields)
    return proposal


def _later(hours: int) -> str:
    day, hour = divmod(hours, 24)
    month, day = divmod(day, 28)
    return f"{2024 + month // 12:04}-{month % 12 + 1:02}-{day + 1:02}T{hour:02}:00:00Z"


class Raw:
    """A record as the consumer delivers it."""

    def __init__(self, message: Any, offset: int = 0, *, value: bytes | None = None) -> None:
        self.offset, self.timestamp, self.key = offset, 0, b"a/b"
        self.value = encode(message) if message is not None else value
        self.headers: tuple[tuple[str, bytes], ...] = ()


def lines(path: Path) -> list[dict[str, Any]]:
    """Return every line of a file; each must be a complete JSON object."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]
