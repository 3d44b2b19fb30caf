"""Gives each test its own store, and removes the default store of earlier tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crl_stream.guide import store as store_module
from crl_stream.guide.store import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "telemetry" / "crl"


@pytest.fixture
def store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store in this process, with a folder; it is the default store during the test."""
    monkeypatch.setattr(store_module, "_default", None)
    with Store(folder) as made:
        made.make_default()
        yield made
