"""Starts the campaign's workers in the same way as the workers of other tests."""

from __future__ import annotations

import forked
import pytest

from campaign.live import fleet


@pytest.fixture(autouse=True)
def _forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "start_python", forked.start_python)
