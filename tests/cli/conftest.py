"""The program under test."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.program import Program


@pytest.fixture
def crl(tmp_path: Path) -> Program:
    """Return ``crl`` in an environment without Kafka."""
    # A real worker may be listening on the default port of the views; no test may query it.
    return Program(tmp_path, CRL_WORKER_WEB_PORT="1")
