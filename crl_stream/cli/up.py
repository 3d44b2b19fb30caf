"""``crl up``: everything in the foreground: broker, topics, worker, services; one Ctrl-C ends it, the data stays."""

from __future__ import annotations

from contextlib import ExitStack

import typer

from crl_stream.cli.processes import leaving_in_order, prepare_topics, running, with_free_port
from crl_stream.cli.session import Session
from crl_stream.cli.talk import say
from crl_stream.worker_views import views_url


def up(context: typer.Context) -> None:
    """Run broker, topics, a worker and the services beside it until Ctrl-C; the data stays for the next time."""
    session: Session = context.obj
    with leaving_in_order(), ExitStack() as stack:
        if not session.settings.kafka.bootstrap_servers:
            broker = session.embedded_broker()
            if broker.status() is None:
                stack.callback(broker.stop)
            settings = session.at(broker.start().bootstrap_servers)
        else:
            settings = session.connected
        settings = with_free_port(session, settings)
        prepare_topics(settings)
        with running(session, settings) as installation:
            say(f"ready: Kafka at {settings.kafka.bootstrap_servers}, views at {views_url(settings)}")
            say("crl status shows the tasks, crl tail follows what happens; Ctrl-C ends all of it, the data stays")
            code = installation.wait_for_end()
    raise typer.Exit(code)
