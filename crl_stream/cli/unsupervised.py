"""Processes of `crl up` that live on without it: all is well until one of them ends, and then nothing restarts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crl_stream.broker import EmbeddedBroker
from crl_stream.cli.run_record import Found, is_held, read
from crl_stream.kafka.fleet_health import finding
from crl_stream.settings import Settings


def unsupervised(settings: Settings) -> list[dict[str, Any]]:
    """A finding when the program that runs the installation of these settings on this machine has ended, or is paused.

    Nothing where no such program ever ran: a worker that a service manager or a person starts is supervised by them.
    """
    folder = settings.worker.data_dir
    found = read(folder)
    if found is None:
        return []
    program = f"{found.command} (process {found.program.pid}, started {found.since})"
    if is_held(folder):
        if not found.program.is_paused():
            return []
        text = f"{program} is paused: what it runs goes on, and what ends is not started again."
        return [finding("supervision", found.command, text, f"`kill -CONT {found.program.pid}` wakes it up")]
    # Looked at last: an orderly end ends what it has started before it gives its place up.
    living = {name: process.pid for name, process in found.living().items()} | _broker_of(found, settings)
    if not living:
        return []
    names = ", ".join(f"{name} ({pid})" for name, pid in living.items())
    runs = "runs" if len(living) == 1 else "run"
    text = f"{program} has ended without ending what it had started: {names} {runs} unsupervised."
    action = f"`{found.command}` takes over: it ends them and starts all of it; `crl down` only ends them"
    return [finding("supervision", found.command, text, action)]


def _broker_of(found: Found, settings: Settings) -> dict[str, int]:
    if not found.broker_folder:
        return {}
    process = EmbeddedBroker(Path(found.broker_folder), settings.client.cache_dir).process()
    return {} if process is None else {"kafka": process.pid}
