"""``crl up``: run everything in the foreground (broker, topics, worker, services) until Ctrl-C; the data is kept."""

from __future__ import annotations

from contextlib import ExitStack

import typer

from crl_stream.cli.processes import leaving_in_order, prepare_topics, running, with_free_port
from crl_stream.cli.run_record import Found, RunRecord, read, take
from crl_stream.cli.session import Session
from crl_stream.cli.supervision import KeptBroker
from crl_stream.cli.talk import say
from crl_stream.dashboard.web.doors import link
from crl_stream.errors import UsageError
from crl_stream.kafka.commands import default_actor
from crl_stream.settings import Settings
from crl_stream.settings.profiles import MEANING
from crl_stream.worker_views import views_url

BROKER_STOP_SECONDS = 1.5
"""Seconds after which the broker is killed at shutdown. Its data is on disk, and the next start checks it."""


def up(context: typer.Context) -> None:
    """Run broker, topics, a worker and the services until Ctrl-C; the data is kept.

    A process that ends is restarted. A second `crl up` shows what is running and where; `crl down` stops it from
    another terminal.
    """
    session: Session = context.obj
    folder = session.settings.worker.data_dir
    with leaving_in_order(), ExitStack() as stack:
        record = take(folder, "crl up")
        if record is None:
            tell_what_runs(session.settings, read(folder))
            return
        stack.callback(record.release)
        tell_left_behind(record)
        say(_profile(session.settings))
        code = _run(session, record, stack)
    raise typer.Exit(code)


def _run(session: Session, record: RunRecord, stack: ExitStack) -> int:
    before = record.before
    broker = endpoint = None
    if session.settings.kafka.bootstrap_servers:
        settings = session.connected
    else:
        broker = session.embedded_broker()
        # A broker that was already running is left alone; one that an earlier `crl up` left behind is now ours.
        ours = broker.status() is None or (before is not None and before.broker_folder == str(broker.data_dir))
        if ours:
            stack.callback(broker.stop, seconds=BROKER_STOP_SECONDS)
            record.note(broker_folder=str(broker.data_dir))
        endpoint = broker.start()
        settings = session.at(endpoint.bootstrap_servers)
    settings = with_free_port(session, settings)
    kafka = settings.kafka
    record.note(kafka=kafka.bootstrap_servers, views=views_url(settings), topic_prefix=kafka.topic_prefix)
    prepare_topics(settings)
    if not settings.bridges:  # if another bridge can be used, the process of the bridges reports this one
        for name, bridge in settings.disabled_bridges.items():
            say(f"bridges.{name} is DISABLED: {bridge.reason.rstrip('.')}; {bridge.hint}")
    with running(session, settings, record=record) as installation:
        if broker is not None and endpoint is not None:
            installation.keep_broker(KeptBroker(broker, endpoint, installation.follow))
        say(f"ready: Kafka at {kafka.bootstrap_servers}, views at {views_url(settings)}")
        say(f"dashboard, for one visit within 15 minutes: {link(settings, views_url(settings), default_actor())}")
        say("crl status shows the tasks, crl tail follows what happens; Ctrl-C stops everything and keeps the data")
        return installation.wait_for_end()


def tell_what_runs(settings: Settings, found: Found | None) -> None:
    """Report the installation that is already running; raises ``UsageError`` if it is a different one."""
    folder = settings.worker.data_dir
    if found is None or not found.kafka:
        who = "" if found is None else f" (process {found.program.pid})"
        say(f"crl up is still starting in {folder}{who}")
        return
    asked = settings.kafka.bootstrap_servers
    if found.topic_prefix != settings.kafka.topic_prefix or asked not in {"", found.kafka}:
        raise UsageError(
            f"{found.command} runs another installation in {folder}: Kafka at {found.kafka}, topic prefix "
            f"{found.topic_prefix!r}.",
            hint="stop it with crl down, or run both: --set worker.data_dir=FOLDER --set worker.web_port=0",
        )
    say(f"{found.command} has been running since {found.since} (process {found.program.pid})")
    say(f"Kafka at {found.kafka}, views at {found.views}; crl status shows the tasks, crl down stops it")
    say("crl dashboard --link prints an address that opens the dashboard")


def tell_left_behind(record: RunRecord) -> None:
    """Report which processes of a killed program were ended."""
    if record.ended:
        names = ", ".join(f"{name} ({process.pid})" for name, process in record.ended.items())
        say(f"stopped processes left behind by an earlier run: {names}")


def _profile(settings: Settings) -> str:
    """Return one line with the profile in force and its meaning."""
    profile, source = settings.profile, settings.origins["profile"].source
    if source != "default":
        return f"profile {profile} ({source}): {MEANING[profile]}"
    return (
        f"profile {profile} (the default, no crl.toml): the guide to the letter, which rolls a healthy variant back "
        "every 40 to 132 invocations; `crl config init` writes a crl.toml with profile production"
    )
