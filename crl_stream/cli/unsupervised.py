"""Finds processes of `crl up` that have outlived it. They keep working, but if one ends, nothing restarts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crl_stream.broker import EmbeddedBroker
from crl_stream.cli.run_record import Found, is_held, read
from crl_stream.kafka.fleet_health import finding
from crl_stream.settings import Settings


def unsupervised(settings: Settings) -> list[dict[str, Any]]:
    """Return a finding if the program that runs this installation on this machine has ended or is paused.

    There is no finding if no such program ever ran: then a service manager or a person supervises the worker.
    """
    folder = settings.worker.data_dir
    found = read(folder)
    if found is None:
        return []
    program = f"{found.command} (process {found.program.pid}, started {found.since})"
    if is_held(folder):
        if not found.program.is_paused():
            return []
        text = f"{program} is paused: its processes keep running, but one that ends is not restarted."
        return [finding("supervision", found.command, text, f"`kill -CONT {found.program.pid}` resumes it")]
    # Check this last: an orderly stop ends its processes before it releases the lock.
    living = {name: process.pid for name, process in found.living().items()} | _broker_of(found, settings)
    if not living:
        return []
    names = ", ".join(f"{name} ({pid})" for name, pid in living.items())
    runs = "runs" if len(living) == 1 else "run"
    text = f"{program} has ended without stopping its processes: {names} {runs} unsupervised."
    action = f"`{found.command}` takes over: it stops them and starts everything; `crl down` only stops them"
    return [finding("supervision", found.command, text, action)]


def _broker_of(found: Found, settings: Settings) -> dict[str, int]:
    if not found.broker_folder:
        return {}
    process = EmbeddedBroker(Path(found.broker_folder), settings.client.cache_dir).process()
    return {} if process is None else {"kafka": process.pid}
