"""A Python process that loads the program once and forks a copy of itself for each request; see ``forked.py``.

It has only one thread, so a forked child works like a newly started process.  The child has its own environment,
folder, standard streams and process id, receives signals, and ends like any interpreter.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress
from typing import Any


def serve(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Fork for each request; returns the request and its streams in each child, and None in the server at the end."""
    children: dict[int, int] = {}
    ended, tell = os.pipe()
    os.set_blocking(ended, False)
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([channel, ended], [], [])
        if ended in ready:
            with suppress(BlockingIOError):
                os.read(ended, 1 << 16)
            report(children)
        if channel not in ready:
            continue
        size, files, _, _ = socket.recv_fds(channel, 8, 4)
        if not size:
            # The client has ended, so the processes that it started must end too.
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            return None
        asked = json.loads(b"".join(pieces(channel, int.from_bytes(size, "big"))))
        pid = os.fork()
        if pid == 0:
            channel.close()
            for own in (ended, tell, files.pop(), *children.values()):
                os.close(own)
            return asked, files
        children[pid] = files.pop()
        for file in files:
            os.close(file)
        channel.sendall(pid.to_bytes(8, "big"))


def pieces(channel: socket.socket, size: int) -> Any:
    """Yield the next ``size`` bytes as they arrive."""
    while size:
        piece = channel.recv(size)
        size -= len(piece)
        yield piece


def report(children: dict[int, int]) -> None:
    """Report the exit code of each child that has ended."""
    for pid in list(children):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            file = children.pop(pid)
            with suppress(BrokenPipeError):
                os.write(file, b"%d" % os.waitstatus_to_exitcode(status))
            os.close(file)


def become(asked: dict[str, Any], files: list[int]) -> None:
    """Turn this child into the requested process."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    tempfile.tempdir = None
    os.chdir(asked["folder"])
    module, *arguments = asked["words"]
    sys.path[0] = asked["folder"]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def load(modules: list[str]) -> None:
    """Load the program and build its command tree, which takes longer than most commands."""
    for name in modules:
        importlib.import_module(name)
    import typer.main

    from crl_stream.cli.application import app

    typer.main.get_command = functools.cache(typer.main.get_command)
    typer.main.get_command(app)
    # Children share the loaded objects.  Unless frozen, they would be copied by each child's garbage collection.
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    load(json.loads(sys.argv[2]))
    if (child := serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        become(*child)
