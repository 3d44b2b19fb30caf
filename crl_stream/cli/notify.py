"""``crl notify``: who is alerted, and whether delivery works."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from crl_stream.cli.talk import show, show_json, show_table
from crl_stream.errors import ConfigError, NotFound
from crl_stream.notifiers.notifier import Notifier
from crl_stream.notifiers.options import Options

app = typer.Typer(help="List the alert channels, or send a test line through one.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_channels(context: typer.Context, json: Json = False) -> None:
    """List the configured channels; secrets are not shown."""
    settings = context.obj.settings
    channels: dict[str, Options] = dict(settings.notifiers)
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "kind": options.kind,
            "min_severity": options.min_severity,
            "content": options.content,
            "place": options.place(),
            "disabled": None,
        }
        for name, options in channels.items()
    ]
    found += [
        {
            "name": name,
            "kind": channel.kind,
            "min_severity": None,
            "content": None,
            "place": None,
            "disabled": f"{channel.reason}; {channel.hint}",
        }
        for name, channel in settings.disabled_notifiers.items()
    ]
    if json:
        show_json({"notifiers": found})
        return
    show_table(
        ("name", "kind", "from severity", "content", "where"),
        [
            (*tuple(entry.values())[:4], f"DISABLED: {entry['disabled']}" if entry["disabled"] else entry["place"])
            for entry in found
        ],
        empty="No channel is configured; alerts go to the worker log. To add one, put [notifiers.NAME] in crl.toml.",
    )


@app.command("test")
def send_test(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the channel, as listed by crl notify list.")],
    json: Json = False,
) -> None:
    """Send one test line through one channel."""
    settings = context.obj.settings
    channels = settings.notifiers
    if (disabled := settings.disabled_notifiers.get(name)) is not None:
        raise ConfigError(f"notifiers.{name} is disabled: {disabled.reason}.", hint=disabled.hint)
    if name not in channels:
        known = ", ".join(channels) or "none"
        raise NotFound(f"There is no channel {name}.", hint=f"configured channels: {known}; see crl notify list")
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
