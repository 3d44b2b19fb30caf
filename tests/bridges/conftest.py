"""A machine whose clock shows another time than UTC."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let local time be eleven hours ahead of UTC."""
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "Pacific/Noumea")
        time.tzset()
        yield
    time.tzset()
