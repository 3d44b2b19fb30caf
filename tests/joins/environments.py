"""Python interpreters that have other projects' packages."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def python_of(name: str) -> Path:
    """Return the interpreter of an environment, or skip the test with the command that creates it."""
    python = ROOT / f".venv-{name}" / "bin" / "python"
    if not (python.parent.parent / ".crl-environment").exists():
        pytest.skip(f"needs the packages of requirements/{name}.txt: scripts/environment {name}")
    return python
