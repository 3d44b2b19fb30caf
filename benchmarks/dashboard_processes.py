"""The processes of a measurement of the dashboard: a browser, a steady load, and viewers without a browser."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from benchmarks.entrants import Missing, environment
from benchmarks.environment import ROOT
from benchmarks.running import Failed, stop

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
ANSWER_SECONDS = 240.0
"""Seconds within which a process must answer a request."""


class Talker:
    """A process that answers with lines of JSON."""

    def __init__(self, command: Sequence[str]) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment(), start_new_session=True)
        self._name = command[2]

    def say(self, line: str) -> None:
        """Send one line."""
        stream = _stream(self.process.stdin)
        stream.write(line.encode() + b"\n")
        stream.flush()

    def hear(self) -> str:
        """Return the next line; a process that is silent for too long is ended."""
        timer = threading.Timer(ANSWER_SECONDS, self.process.kill)
        timer.start()
        try:
            line = _stream(self.process.stdout).readline()
        finally:
            timer.cancel()
        if not line:
            raise Failed(f"{self._name} ended with code {self.process.wait()}, its last lines are above")
        return line.decode().strip()

    def finish(self) -> str:
        """Close its input, and return what it still says."""
        _stream(self.process.stdin).close()
        timer = threading.Timer(ANSWER_SECONDS, self.process.kill)
        timer.start()
        said = _stream(self.process.stdout).read().decode()
        code = self.process.wait()
        timer.cancel()
        if code:
            raise Failed(f"{self._name} ended with code {code}, its last lines are above")
        return said.strip()

    def close(self) -> None:
        """End the process, whatever it does."""
        with contextlib.suppress(OSError):
            _stream(self.process.stdin).close()
        stop(self.process)
        _stream(self.process.stdout).close()


def _stream(found: IO[bytes] | None) -> IO[bytes]:
    assert found is not None
    return found


class Browser:
    """Sends requests to ``dashboard_browser.py``."""

    def __init__(self, talker: Talker) -> None:
        self._talker = talker
        self.version = self._answer()

    def ask(self, name: str, *given: Any) -> Any:
        """Return the result of a method of ``Measurer``."""
        self._talker.say(json.dumps({"do": name, "with": given}))
        return self._answer()

    def _answer(self) -> Any:
        answer = json.loads(self._talker.hear())
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["result"]


def browser_command() -> list[str]:
    """Return the command that starts the browser; raises ``Missing`` if a part of it is not installed."""
    python = ROOT / ".venv-browser" / "bin" / "python"
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if not python.exists():
        raise Missing("the packages of requirements/browser.txt; scripts/environment browser installs them")
    if program is None:
        raise Missing("Chromium, for example Debian's: apt-get install chromium")
    return [str(python), "-m", "benchmarks.dashboard_browser", program]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Run a browser during the block."""
    talker = Talker(browser_command())
    try:
        yield Browser(talker)
        talker.finish()
    finally:
        talker.close()


@contextlib.contextmanager
def load(path: Path, plan: Mapping[str, Any], sent: dict[str, Any]) -> Iterator[Talker]:
    """Send outcomes at a steady rate during the block; ``sent`` then has what was sent."""
    path.write_text(json.dumps(plan), encoding="utf-8")
    talker = Talker([sys.executable, "-m", "benchmarks.dashboard_load", str(path)])
    try:
        yield talker
        talker.finish()
        sent.update(json.loads(path.with_suffix(".sent").read_text(encoding="utf-8")))
    finally:
        talker.close()


@contextlib.contextmanager
def viewers(url: str, cookie: str, count: int, heard: dict[str, int] | None = None) -> Iterator[None]:
    """Watch the dashboard with viewers that are no browsers; ``heard`` then has what they received."""
    talker = Talker([sys.executable, "-m", "benchmarks.dashboard_viewers", url, cookie, str(count)])
    try:
        if talker.hear() != "ready":
            raise Failed("the viewers saw nothing")
        yield
        said = talker.finish()
        if heard is not None:
            heard.update(json.loads(said))
    finally:
        talker.close()
