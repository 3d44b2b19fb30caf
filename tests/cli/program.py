"""The real program, started as a person would start it: in an empty home, with only the settings of the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import forked
import typer
from source_tree import OF_THIS_CHECKOUT

from crl_stream.cli.application import app


class Result(NamedTuple):
    """The result of a call: its exit code and what it printed."""

    call: tuple[str, ...]
    code: int
    out: str
    err: str

    def faults(self, code: int) -> list[str]:
        """Return how the failure differs from the rule: two lines on stderr, exit code ``code``, and nothing else."""
        lines = self.err.splitlines()
        said = [line.partition(":")[0] for line in lines[-2:]]
        found = [] if self.code == code else [f"exit code {self.code}"]
        found += [] if said == ["crl", "hint"] else [f"last words {lines[-2:]}"]
        found += ["a traceback"] if "Traceback" in self.err or "bug in crl" in self.err else []
        return found + ([f"stdout {self.out!r}"] if self.out else [])


class Program:
    """``python -m crl_stream`` in a separate folder."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        home = folder / "home"
        home.mkdir(exist_ok=True)
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "XDG_DATA_HOME": str(home / "data"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "TMPDIR": str(home),
        }
        self.environment |= OF_THIS_CHECKOUT | environment

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "crl_stream", *arguments]

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        options = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE} | options
        # Tests that run in the background inherit an ignored SIGINT, which a person's shell would not pass on.
        options |= {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
        return subprocess.Popen(self.command(*arguments), cwd=self.folder, env=self.environment, **options)

    def run(self, *arguments: str, said: str = "") -> Result:
        done = forked.run(("crl_stream", *arguments), self.environment, self.folder, said.encode())
        return Result(arguments, done.code, done.out.decode(), done.err.decode())

    def run_all(self, calls: Sequence[Sequence[str]]) -> list[Result]:
        """Run many calls, each in a separate process."""
        return [self.run(*call) for call in calls]


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the path of every command, as found in the program."""

    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if not hasattr(command, "commands"):
            yield path
            return
        if path and command.invoke_without_command:
            yield path
        for name, inner in command.commands.items():
            yield from walk(inner, (*path, name))

    yield from walk(typer.main.get_command(app), ())


def groups() -> set[tuple[str, ...]]:
    """Return the commands that only contain subcommands."""
    there = set(commands())
    return {path[:-1] for path in there} - there
