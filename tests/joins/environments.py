"""Python interpreters that have other projects' packages."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


PATIENCE_SECONDS = 900.0
"""How long to wait for an installation that is going on."""


def python_of(name: str) -> Path:
    """Return the interpreter of an environment, or skip the test with the command that creates it.

    ``CRL_TEST_ENVIRONMENTS`` is the id of a process that is creating the environments, if there is one.
    """
    python = ROOT / f".venv-{name}" / "bin" / "python"
    done, until = python.parent.parent / ".crl-environment", time.monotonic() + PATIENCE_SECONDS
    while not done.exists() and _is_installing() and time.monotonic() < until:
        time.sleep(0.5)
    if not done.exists():
        pytest.skip(f"needs the packages of requirements/{name}.txt: scripts/environment {name}")
    return python


def _is_installing() -> bool:
    pid = os.environ.get("CRL_TEST_ENVIRONMENTS", "")
    try:
        # A process that has ended and was not waited for yet has no command line.
        return pid.isdecimal() and bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False
