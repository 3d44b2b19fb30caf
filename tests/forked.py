"""Starts ``crl`` processes quickly: loading the program takes most of a second, and tests start hundreds of processes.

``start`` and ``run`` fork a process that has already loaded the program (``forking_server.py``).  Tests that use
``subprocess`` cover a real start of Python.
"""

from __future__ import annotations

import atexit
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from source_tree import OF_THIS_CHECKOUT, PACKAGE, ROOT

_SERVER: Final = Path(__file__).with_name("forking_server.py")
_EXTRA: Final = (f"{PACKAGE}.hooks.", f"{PACKAGE}.openfeature")
"""Prefixes of modules that need other projects' packages."""
_LEFT_OUT: Final = (f"{PACKAGE}.__main__", f"{PACKAGE}.contract.generator", f"{PACKAGE}.worker.stores.rocksdb")
"""Modules that are programs, or that load native code which starts threads; ``openfeature`` is an optional extra."""
_AT_START: Final = ("LANG", "LC_", "PYTHON", "TYPER", "_TYPER", "FORCE_COLOR", "PY_COLORS", "GITHUB_", "TERMINAL_")
"""Prefixes of environment variables that are read only when Python starts or a library is loaded."""


class Forked:
    """One process, with the methods of ``subprocess.Popen`` that tests use."""

    def __init__(self, pid: int, end: int) -> None:
        self.pid, self._end, self.returncode = pid, end, None

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        while self.returncode is None:
            if not select.select([self._end], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired([str(self.pid)], timeout or 0.0)
            self._learn()
        return self.returncode

    def _learn(self) -> None:
        with _LOCK:  # two threads may wait for the same process
            if self.returncode is None:
                said = os.read(self._end, 16)
                # No exit code arrives if the server was killed; the test must then fail.
                self.returncode = int(said or b"-9")

    def __del__(self) -> None:
        os.close(self._end)  # close the pipe no earlier, because another thread may be reading from it

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Done(NamedTuple):
    """The exit code and the output of a process."""

    code: int
    out: bytes
    err: bytes


class _Server:
    """The forking server for one set of the variables that are read only at start-up."""

    def __init__(self, environment: Mapping[str, str], modules: Sequence[str]) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(_SERVER), str(theirs.fileno()), json.dumps(modules)],
                env=dict(environment),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        self._asking = threading.Lock()
        atexit.register(self.close)

    def start(self, asked: Mapping[str, Any], streams: Sequence[int]) -> Forked:
        text = json.dumps(asked).encode()
        end, said = os.pipe()
        try:
            with self._asking:
                socket.send_fds(self._channel, [len(text).to_bytes(8, "big")], [*streams, said])
                self._channel.sendall(text)
                pid = int.from_bytes(self._channel.recv(8), "big")
        finally:
            os.close(said)
        assert pid, "the forking server has ended"
        return Forked(pid, end)

    def close(self) -> None:
        self._channel.close()
        self._process.wait()


_LOCK: Final = threading.Lock()


@cache
def modules_of_the_program(*, worker: bool) -> list[str]:
    """List the program's modules to load; those of the workers only if ``worker`` is set."""
    import crl_stream

    names = [found.name for found in pkgutil.walk_packages(crl_stream.__path__, f"{PACKAGE}.")]
    names = [name for name in names if name not in _LEFT_OUT and not name.startswith(_EXTRA)]
    return [name for name in names if worker or not name.startswith(f"{PACKAGE}.worker")]


@cache
def _server(at_start: tuple[tuple[str, str], ...], *, worker: bool) -> _Server:
    usual = {"PATH": os.environ.get("PATH", os.defpath)} | OF_THIS_CHECKOUT
    return _Server(usual | dict(at_start), modules_of_the_program(worker=worker))


def start(
    words: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    stdout: IO[bytes],
    stderr: IO[bytes],
    stdin: IO[bytes] | None = None,
) -> Forked:
    """Start ``python -m WORDS`` in ``folder``, with exactly this environment."""
    at_start = tuple(sorted((k, v) for k, v in environment.items() if k.startswith(_AT_START)))
    with _LOCK:
        server = _server(at_start, worker="worker" in words)
    with Path(os.devnull).open("rb") as nothing:
        streams = [(stdin or nothing).fileno(), stdout.fileno(), stderr.fileno()]
        asked = {"words": list(words), "environment": dict(environment), "folder": str(folder)}
        return server.start(asked, streams)


def start_python(
    words: Sequence[str], environment: Mapping[str, str], folder: Path, output: IO[bytes]
) -> subprocess.Popen[bytes] | Forked:
    """Start ``python WORDS``, by a fork if it is the unpatched program; send all its output to ``output``.

    A launcher that patches the program must run before the program is loaded, so it gets a new interpreter.
    """
    if tuple(words[:2]) == ("-m", PACKAGE):
        return start(words[1:], environment, folder, output, output)
    command = [sys.executable, *words]
    options: Any = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, env=dict(environment), cwd=folder, **options)


def run(words: Sequence[str], environment: Mapping[str, str], folder: Path, said: bytes = b"") -> Done:
    """Run a process as ``start`` does and wait for its end; ``said`` is its standard input."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        stdin.write(said)
        stdin.seek(0)
        code = start(words, environment, folder, out, err, stdin).wait()
        for file in (out, err):
            file.seek(0)
        return Done(code, out.read(), err.read())
