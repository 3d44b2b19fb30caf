"""Creates ``.venv-bench``, the virtual environment of the libraries we compare with, once, from pins with hashes."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-bench"
PINS = ROOT / "requirements" / "bench.txt"
_STAMP = FOLDER / ".crl-bench"

_reason = ""


def prepare() -> str:
    """Create the environment if it does not exist; return what went wrong, or an empty string.

    pip takes its index and proxy from the environment, as in ``scripts/bootstrap``.
    """
    global _reason  # noqa: PLW0603 - asked again for each contestant that is missing
    wanted = hashlib.sha256(PINS.read_bytes()).hexdigest()
    if bench_python() is not None and _STAMP.exists() and _STAMP.read_text(encoding="ascii") == wanted:
        return ""
    print(
        f"Installing the libraries we compare with into {FOLDER.name} (500 MB, once; a minute or two)", file=sys.stderr
    )
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
    pip = [str(FOLDER / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for what, command in (
        ("the virtual environment cannot be created", [sys.executable, "-m", "venv", str(FOLDER)]),
        ("pip could not install", [*pip, "--no-deps", "--require-hashes", "-r", str(PINS)]),
    ):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            _reason = f"{what}: {(done.stderr or done.stdout).strip()[-600:]}"
            print(
                f"{_reason}\nhint: can a package index be reached (PIP_INDEX_URL, HTTPS_PROXY, PIP_CERT)?",
                file=sys.stderr,
            )
            return _reason
    _STAMP.write_text(wanted, encoding="ascii")
    installed_version.cache_clear()
    return ""


def bench_python() -> Path | None:
    """Return the environment's Python interpreter, or None if the environment does not exist."""
    python = FOLDER / "bin" / "python"
    return python if python.exists() else None


def why_missing(library: str) -> str:
    """Return a message that says why a library is missing."""
    return f"{library} is not installed in {FOLDER.name}" + (f" ({_reason})" if _reason else "")


@cache
def installed_version(library: str) -> str | None:
    """Return the version of a library in the environment."""
    if (python := bench_python()) is None:
        return None
    code = f"import importlib.metadata as m; print(m.version({library!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
