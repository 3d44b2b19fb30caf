"""``crl down``: stop the processes that `crl up` runs on this machine, or that it left behind when it was killed."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from crl_stream.broker import EmbeddedBroker
from crl_stream.cli.demo.place import demo_folder
from crl_stream.cli.run_record import Found, end_left_behind, forget, is_held, read
from crl_stream.cli.session import Session
from crl_stream.cli.talk import say, show_json

PATIENCE_SECONDS: Final = 8.0
"""Seconds to wait for the program that runs the installation; it normally stops within five."""


def down(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Stop the processes that `crl up` or `crl demo` runs with these settings, or left behind when it was killed.

    The data is kept. The exit code is 0 even if nothing was running.
    """
    session: Session = context.obj
    folder = session.settings.worker.data_dir
    ended: dict[str, int] = {}
    for place in (folder, demo_folder(session.settings)):
        ended |= _end(session, place)
    if json:
        show_json({"ended": [{"name": name, "pid": pid} for name, pid in ended.items()]})
    elif ended:
        say(f"stopped: {', '.join(f'{name} ({pid})' for name, pid in ended.items())}; the data is kept")
    else:
        say(f"nothing is running: there is no installation of crl up in {folder}")


def _end(session: Session, folder: Path) -> dict[str, int]:
    """Stop the installation of one data folder; returns the names and ids of the ended processes."""
    found = read(folder)
    ended: dict[str, int] = {}
    if found is None:
        return ended
    if is_held(folder):
        ended[found.command] = found.program.pid
        ended |= {name: process.pid for name, process in found.living().items()}
        if found.broker_folder and (broker := _broker_of(session, found).process()) is not None:
            ended["kafka"] = broker.pid
        found.program.send(signal.SIGTERM)
        found.program.send(signal.SIGCONT)
        until = time.monotonic() + PATIENCE_SECONDS
        while is_held(folder) and time.monotonic() < until:
            time.sleep(0.05)
        if is_held(folder):
            found.program.send(signal.SIGKILL)
    # Read the record again: the program may have started another process in the meantime.
    ended |= {name: process.pid for name, process in end_left_behind(folder).items()}
    ended |= _end_broker(session, found)
    if not is_held(folder):
        forget(folder)
    return ended


def _broker_of(session: Session, found: Found) -> EmbeddedBroker:
    return EmbeddedBroker(Path(found.broker_folder), session.settings.client.cache_dir)


def _end_broker(session: Session, found: Found) -> dict[str, int]:
    """Stop the embedded broker that the program had started, if it is still running."""
    if not found.broker_folder:
        return {}
    broker = _broker_of(session, found)
    process = broker.process()
    if process is None or not broker.stop(seconds=5.0):
        return {}
    return {"kafka": process.pid}
