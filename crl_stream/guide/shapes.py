"""Rollbacks and proposals as the guide's dictionaries, with the same fields as a line of the telemetry files."""

from __future__ import annotations

import json
from typing import Any

from crl_stream.core import messages as m
from crl_stream.telemetry.lines import proposal_line, rollback_line


def rollback_fields(event: m.RollbackEvent) -> dict[str, Any]:
    """Return the rollback with the fields of the guide's event schema first, then epoch, ids and position."""
    fields: dict[str, Any] = json.loads(rollback_line(event))
    return fields


def proposal_fields(proposal: m.Proposal) -> dict[str, Any]:
    """Return the proposal with the guide's fields first, then revision, review and the change an approval applies."""
    fields: dict[str, Any] = json.loads(proposal_line(proposal))
    return fields
