"""``crl up``: everything in the foreground: broker, topics, worker, services; one Ctrl-C ends it, the data stays."""

from __future__ import annotations

import typer

from crl_stream.cli.processes import prepare_topics, running, with_free_port
from crl_stream.cli.session import Session
from crl_stream.cli.talk import say
from crl_stream.worker_views import views_url


def up(context: typer.Context) -> None:
    """Run broker, topics, a worker and the services beside it until Ctrl-C; the data stays for the next time."""
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
        with running(session, settings) as installation:
            say(f"ready: Kafka at {settings.kafka.bootstrap_servers}, views at {views_url(settings)}")
            say("crl status shows the tasks, crl tail follows what happens; Ctrl-C ends all of it, the data stays")
            code = installation.wait_for_end()
    finally:
        if broker is not None:
            broker.stop()
    raise typer.Exit(code)
