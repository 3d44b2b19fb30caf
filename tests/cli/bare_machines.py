"""Machines on which crl has never run: with an empty home, a read-only home, or a user id that has no home."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from forked import modules_of_the_program
from source_tree import OF_THIS_CHECKOUT, ROOT

from crl_stream.settings.model import Client

from .program import Result

STRANGER: Final = 54_321
"""A user id that is in no user database."""
_AS_STRANGER: Final = [
    *("setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"),
    # The stranger may read this checkout and this Python wherever they are, but may not write anywhere.
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
    "--bounding-set=-all,+dac_read_search",
]
LASTING_SECONDS: Final = 20.0
"""A command that is still running after this many seconds counts as one that runs until Ctrl-C."""
END_SECONDS: Final = 30.0
_MANY_CALLS: Final = """
import json, os, signal, sys, time

tests, modules, calls, lasting, patience = json.loads(sys.argv[1])
sys.path.append(tests)
from forking_server import load
load(modules)
from crl_stream.cli import main

def wait(child, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    return None

results = []
for call in calls:
    # Files in memory, because there may be no writable folder.
    out, err = os.memfd_create("out"), os.memfd_create("err")
    child = os.fork()
    if child == 0:
        os.dup2(out, 1)
        os.dup2(err, 2)
        # Tests that run in the background inherit an ignored SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["crl", *call]
        main()
    code = wait(child, 1.0 if call[0] == "tail" else lasting)
    if told := code is None:
        os.kill(child, signal.SIGINT)
        code = wait(child, patience)
    if code is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    results.append([told, code, *(os.pread(file, 1 << 20, 0).decode() for file in (out, err))])
json.dump(results, sys.stdout)
"""
"""Program that runs many calls as this machine's user. It loads crl only once, which takes most of a second."""


class Ended(NamedTuple):
    """How a call ended."""

    told: bool
    """Whether the command ran until Ctrl-C."""
    code: int | None
    """The exit code, or None if the command kept running after Ctrl-C."""
    result: Result

    @property
    def faults(self) -> list[str]:
        """Describe what is wrong: a bug, an exit code missing from the help, or an error without a hint."""
        if self.code is None:
            return ["it kept running after Ctrl-C"]
        if self.told:
            return ["a traceback"] if "Traceback" in self.result.err else []
        found = self.result.faults(self.code) if self.code else []
        found = [fault for fault in found if not fault.startswith("stdout")]
        known = self.code in {0, 1, 2, 3, 4, 5, 69, 70, 78}
        return found + ([] if known else [f"exit code {self.code}"])


class BareMachine:
    """A machine in ``folder``.  ``home`` None means no home; ``stranger`` means a user id without write permission."""

    def __init__(self, folder: Path, home: Path | None, *, stranger: bool, settings: Mapping[str, str]) -> None:
        self.stranger = stranger
        self.here = folder / "here"
        self.scratch = folder / "scratch"
        for made in (self.here, self.scratch, *([] if home is None else [home])):
            made.mkdir(parents=True, exist_ok=True)
        self.scratch.chmod(0o1777)
        self.environment = {"PATH": os.environ.get("PATH", os.defpath), "TMPDIR": str(self.scratch), "COLUMNS": "80"}
        self.environment |= {} if home is None else {"HOME": str(home)}
        # Use the existing jars, because these tests are not about downloading them.
        self.environment |= {"CRL_CLIENT_CACHE_DIR": str(Client().cache_dir)}
        self.environment |= OF_THIS_CHECKOUT | {"PYTHONDONTWRITEBYTECODE": "1"} | dict(settings)

    @property
    def may_write_here(self) -> bool:
        """Return whether the machine's user can write to the current folder."""
        return not self.stranger and os.access(self.here, os.W_OK)

    def command(self, *words: str) -> list[str]:
        """Return the command line of a Python on this machine."""
        return [*(_AS_STRANGER if self.stranger else []), sys.executable, *words]

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
        """Start ``crl`` with these arguments."""
        return subprocess.Popen(
            self.command("-m", "crl_stream", *arguments),
            cwd=self.here,
            env=self.environment | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run_all(self, calls: Sequence[Sequence[str]]) -> list[Ended]:
        """Run the calls one after the other, each in a separate process."""
        told = [str(ROOT / "tests"), modules_of_the_program(worker=False), list(map(list, calls))]
        done = subprocess.run(
            self.command("-c", _MANY_CALLS, json.dumps([*told, LASTING_SECONDS, END_SECONDS])),
            stdin=subprocess.DEVNULL,
            cwd=self.here,
            env=self.environment,
            capture_output=True,
            check=True,
        )
        return [
            Ended(told, code, Result(tuple(call), -1 if code is None else code, out, err))
            for call, (told, code, out, err) in zip(calls, json.loads(done.stdout), strict=True)
        ]


def why_no_stranger() -> str | None:
    """Return the reason why no process can run under a user id without write permission, or None if one can."""
    if os.geteuid() or shutil.which("setpriv") is None:
        return "this needs setpriv, and root to run a process under another user id"
    tried = subprocess.run([*_AS_STRANGER, sys.executable, "-c", ""], env={}, capture_output=True, check=False)
    return tried.stderr.decode()[-200:] or "it does not run" if tried.returncode else None
