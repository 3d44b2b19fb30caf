"""The program under test."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.program import Program


@pytest.fixture
def crl(tmp_path: Path) -> Program:
    """``crl`` with no Kafka anywhere."""
    # The usual port of the views may be taken by somebody's real worker: no test may ask that one.
    return Program(tmp_path, CRL_WORKER_WEB_PORT="1")
