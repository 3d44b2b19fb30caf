"""The virtual environment of other people's libraries, which ``scripts/bench_environment`` makes and pins."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".venv-bench"


def bench_python() -> Path | None:
    """Its interpreter, if it was made."""
    python = FOLDER / "bin" / "python"
    return python if python.exists() else None


@cache
def installed_version(library: str) -> str | None:
    """The version of a library in it."""
    if (python := bench_python()) is None:
        return None
    code = f"import importlib.metadata as m; print(m.version({library!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
