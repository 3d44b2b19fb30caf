"""Proposals for tests: the guide's example, and any number of others."""

from __future__ import annotations

from typing import Any

from telemetry.events import GUIDE_PROPOSAL, a_proposal

from crl_stream.core.instant import from_text
from crl_stream.core.messages import Proposal

NOW = from_text("2025-11-20T09:00:00Z")
EXPIRES = "2025-12-19T14:30:00Z"
CHANGE = {"action": "register", "variant_id": "default-v2", "parent": "default", "temperature": 0.2}


def the_guide_s(**fields: Any) -> Proposal:
    """Return the proposal from the guide's schema, pending at ``NOW``."""
    own = {"expires_at": EXPIRES, "updated_at": GUIDE_PROPOSAL["timestamp"], "change": CHANGE}
    return a_proposal(**(GUIDE_PROPOSAL | own | fields))


def another(number: int, **fields: Any) -> Proposal:
    """Return a proposal like the guide's, but with an id made from ``number``."""
    return the_guide_s(**({"proposal_id": f"prop-20251119-{number:06x}"} | fields))
