"""``crl broker``: the embedded Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crl_stream.broker.process import Endpoint
from crl_stream.cli.talk import say, show, show_json
from crl_stream.errors import NotFound

app = typer.Typer(help="The embedded Kafka: a real broker on loopback, no Docker or Java needed.", no_args_is_help=True)

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="The broker's data folder (setting broker.data_dir).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def start(
    context: typer.Context,
    data_dir: DataDir = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65_535, help="Port on loopback. Default: the last one used, else 9092 or a free one."),
    ] = None,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Use a new data folder and delete it when the broker stops.")
    ] = False,
    json: Json = False,
) -> None:
    """Start the broker and return once it answers. Its data survives restarts."""
    broker = context.obj.embedded_broker(data_dir=data_dir, port=port, ephemeral=ephemeral)
    _show(broker.start(), json)


@app.command()
def stop(context: typer.Context, data_dir: DataDir = None, json: Json = False) -> None:
    """Stop the broker. Its data is kept unless the broker is ephemeral."""
    broker = context.obj.embedded_broker(data_dir=data_dir)
    endpoint = broker.status()
    if not broker.stop() or endpoint is None:
        raise NotFound("The embedded broker is not running.", hint="start it with crl broker start")
    if json:
        show_json(endpoint._asdict() | {"stopped": True})
        return
    say(f"The broker has stopped; its data {'was deleted' if endpoint.ephemeral else 'is kept'}.")


@app.command()
def status(context: typer.Context, data_dir: DataDir = None, json: Json = False) -> None:
    """Show the address, process, data folder and log of the broker."""
    endpoint = context.obj.embedded_broker(data_dir=data_dir).status()
    if endpoint is None:
        raise NotFound("The embedded broker is not running.", hint="start it with crl broker start")
    _show(endpoint, json)


def _show(endpoint: Endpoint, json: bool) -> None:
    if json:
        show_json(endpoint._asdict())
        return
    show(f"Kafka {endpoint.kafka_version} answers at {endpoint.bootstrap_servers} (process {endpoint.pid})")
    stop_with = f"crl broker stop --data-dir {endpoint.data_dir}" if endpoint.ephemeral else "crl broker stop"
    say(f"data {endpoint.data_dir}, log {endpoint.log}; stop it with {stop_with}")
