"""``crl notify``: who is told, and whether the telling works."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from crl_stream.cli.talk import show, show_json, show_table
from crl_stream.errors import NotFound
from crl_stream.notifiers import Notifier
from crl_stream.notifiers.options import Options

app = typer.Typer(help="Who is told of alerts: the channels, and a test line through one.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_channels(context: typer.Context, json: Json = False) -> None:
    """List the channels of the settings; secrets are not shown."""
    channels: dict[str, Options] = dict(context.obj.settings.notifiers)
    found = [
        {
            "name": name,
            "kind": options.kind,
            "min_severity": options.min_severity,
            "content": options.content,
            "place": options.place(),
        }
        for name, options in channels.items()
    ]
    if json:
        show_json({"notifiers": found})
        return
    show_table(
        ("name", "kind", "from severity", "content", "where"),
        [tuple(entry.values()) for entry in found],
        empty='No channel is set: alerts go to the log of the worker.  [notifiers.ops] kind = "webhook" adds one.',
    )


@app.command("test")
def send_test(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The channel; crl notify list shows them.")],
    json: Json = False,
) -> None:
    """Send a test line through one channel, once."""
    channels = context.obj.settings.notifiers
    if name not in channels:
        known = ", ".join(channels) or "none"
        raise NotFound(f"There is no channel {name}.", hint=f"the settings have {known}; see crl notify list")
    asyncio.run(_send(name, channels[name]))
    if json:
        show_json({"name": name, "delivered": True})
    else:
        show(f"{name}: delivered")
        show(f"to {channels[name].place()}")


async def _send(name: str, options: Options) -> None:
    notifier = Notifier(name, options)
    try:
        await notifier.send_test()
    finally:
        await notifier.close()
