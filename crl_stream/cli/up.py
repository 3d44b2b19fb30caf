"""``crl up``: everything in the foreground: broker, topics, worker; one Ctrl-C ends it, the data stays."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import Any

import typer

from crl_stream.broker.ports import bindable, free_port
from crl_stream.cli.session import Session
from crl_stream.cli.talk import say
from crl_stream.errors import CrlError, Unavailable, UsageError
from crl_stream.settings import Settings
from crl_stream.topic_admin import TopicAdmin
from crl_stream.worker_views import ask, views_url

READY_SECONDS = 60.0


def up(context: typer.Context) -> None:
    """Run broker, topics and a worker until Ctrl-C; the data stays for the next time."""
    session: Session = context.obj
    broker = None
    try:
        if not session.settings.kafka.bootstrap_servers:
            broker = session.embedded_broker()
            started_here = broker.status() is None
            settings = session.at(broker.start().bootstrap_servers)
            broker = broker if started_here else None
        else:
            settings = session.connected
        settings = with_free_port(session, settings)
        prepare_topics(settings)
        worker = start_worker(session, settings)
        try:
            wait_until_ready(settings, worker)
            say(f"ready: Kafka at {settings.kafka.bootstrap_servers}, views at {views_url(settings)}")
            say("crl status shows the tasks, crl tail follows what happens; Ctrl-C ends all of it, the data stays")
            code = wait_for_end(worker)
        finally:
            stop_process(worker)
    finally:
        if broker is not None:
            broker.stop()
    raise typer.Exit(code)


def with_free_port(session: Session, settings: Settings, *, other_if_taken: bool = False) -> Settings:
    """The settings with a port for the views that nobody has; a given one is used or refused."""
    port, host = settings.worker.web_port, settings.worker.web_host
    if port and bindable(port, host):
        return settings
    if port and not other_if_taken:
        raise UsageError(
            f"Port {port} is taken.",
            hint="does `crl up` run already? crl status asks it; --set worker.web_port=0 takes a free port",
        )
    return session.at(settings.kafka.bootstrap_servers, web_port=free_port(host))


def prepare_topics(settings: Settings) -> None:
    """Create what is missing."""
    done = asyncio.run(TopicAdmin(settings.kafka, settings.worker.app_id).apply())
    if done:
        say(f"topics: {len(done)} changes")


def start_worker(session: Session, settings: Settings, *, quiet: bool = False) -> subprocess.Popen[bytes]:
    """A worker as a process of its own, with the settings of this call."""
    command = [sys.executable, "-m", "crl_stream"]
    if session.config_file is not None:
        command += ["--config", str(session.config_file)]
    for name, value in session.flags.items():
        command += ["--set", f"{name}={value}"]
    command += ["--set", f"kafka.bootstrap_servers={settings.kafka.bootstrap_servers}"]
    command += ["--set", f"worker.web_port={settings.worker.web_port}", "worker"]
    output: Any = subprocess.DEVNULL if quiet else None
    # A group of its own: Ctrl-C reaches this program, which then ends its processes in order.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=output, start_new_session=True)


def wait_until_ready(settings: Settings, worker: subprocess.Popen[bytes]) -> None:
    """Wait for the worker's word that it is ready; ``Unavailable`` when it ends or takes too long."""
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if worker.poll() is not None:
            raise Unavailable(f"The worker ended with code {worker.returncode}.", hint="its last lines above say why")
        try:
            if ask(settings, "/readyz")["ready"]:
                return
        except CrlError:
            time.sleep(0.1)
    raise Unavailable(f"The worker was not ready within {READY_SECONDS:.0f} s.", hint="see its lines above")


def wait_for_end(worker: subprocess.Popen[bytes]) -> int:
    """Wait for Ctrl-C, SIGTERM or the worker's end; returns the exit code."""

    def leave(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, leave)
    try:
        return worker.wait()
    except KeyboardInterrupt:
        return 0


def stop_process(process: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    """Ask a process to end, wait, and kill it if it does not."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
