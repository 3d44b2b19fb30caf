"""Our code with its hot modules compiled: an unpacked wheel of this checkout, run with the libraries of ``.venv``."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from benchmarks.environment import ROOT

FOLDER = ROOT / "build" / "compiled"
ENABLE = {"HATCH_BUILD_HOOK_ENABLE_CUSTOM": "true"}
_STAMP = FOLDER / ".crl-compiled"
_SOURCES = ("pyproject.toml", "hatch_build.py", "crl_stream", "topics")


def why_not() -> str:
    """Return why nothing can be compiled here, or an empty string."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler: {compiler} is not on the PATH"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "the headers of this Python are not installed (Python.h; Debian, Ubuntu: python3-dev)"
    return ""


def prepare() -> str:
    """Build the wheel unless it is up to date; return why it could not be built, or an empty string."""
    wanted = _fingerprint()
    if _STAMP.exists() and _STAMP.read_text(encoding="ascii") == wanted:
        return ""
    if reason := why_not():
        return reason
    print(f"Compiling our code into {FOLDER.relative_to(ROOT)} (half a minute, once for each change)", file=sys.stderr)
    shutil.rmtree(FOLDER, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory() as wheels:
        for what, command in (
            ("our code could not be compiled", ["wheel", "--no-deps", "--no-build-isolation", "-w", wheels, str(ROOT)]),
            ("the wheel could not be unpacked", ["install", "--no-deps", "--no-index", "--find-links", wheels,
                                          "--target", str(FOLDER), "crl-stream"]),
        ):  # fmt: skip
            done = subprocess.run(
                [*pip, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=os.environ | ENABLE,
                check=False,
            )  # fmt: skip
            if done.returncode:
                return f"{what}: {(done.stderr or done.stdout).strip()[-600:]}"
    _STAMP.write_text(wanted, encoding="ascii")
    return ""


def program(code: str) -> list[str]:
    """Return the command line that runs ``code`` with this build, regardless of other installations."""
    return [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(FOLDER)!r}); {code}"]


def _fingerprint() -> str:
    """Return a hash of this Python and of everything that the build reads."""
    found = hashlib.sha256(sys.version.encode())
    for name in _SOURCES:
        path = ROOT / name
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                found.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return found.hexdigest()
