"""The daily review on a real broker: one message about new proposals and what still waits, published by a worker."""

from __future__ import annotations

import json

import pytest
from builders import invocations
from installation import Installation
from services_oracle import services_settled, start_all

from crl_stream.core import messages as m
from crl_stream.wire.topics import ALERTS, PROPOSALS

pytestmark = pytest.mark.integration


async def test_a_new_proposal_comes_in_the_next_message_with_what_it_touches(installation: Installation) -> None:
    workers = await start_all(installation, review_daily="* * * * *")
    await installation.publish(*invocations("default", "S" * 60, quality=0.3, runtime_id="host-1"))
    proposal = await installation.wait_for(PROPOSALS, m.Proposal)
    alert = await installation.wait_for(ALERTS, m.Alert, lambda a: a.kind == "daily_review", seconds=150)
    for words in (proposal.proposal_id, "touches 1 task, 1 runtime", f"undo an approval: {proposal.undo_command}"):
        assert words in alert.text
    await services_settled(installation)
    lines = (installation.folder / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    [notice] = [line for line in map(json.loads, lines) if line["id"] == alert.alert_id]
    assert notice["text"] == alert.text
    for worker in workers:
        assert await worker.stop() == 0
