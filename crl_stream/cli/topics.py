"""``crl topics``: compare the topics on the broker with the catalog."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from crl_stream.cli.talk import say, show, show_json, show_table
from crl_stream.kafka.admin import TopicAdmin
from crl_stream.kafka.adoption import adopt_log

app = typer.Typer(help="Compare the topics on the broker with the catalog, and create them.", no_args_is_help=True)

DIFFERENT = 3
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def apply(context: typer.Context, json: Json = False) -> None:
    """Create missing topics and correct settings; never deletes topics or adds partitions."""
    done = asyncio.run(_admin(context).apply())
    if json:
        show_json({"done": done})
        return
    for line in done:
        show(line)
    say(f"{len(done)} changes" if done else "All topics match the catalog.")


@app.command()
def diff(context: typer.Context, json: Json = False) -> None:
    """Show how the topics differ from the catalog; exit code 3 if they differ."""
    differences = asyncio.run(_admin(context).differences())
    if json:
        show_json({"differences": [difference.as_json() for difference in differences]})
    else:
        for difference in differences:
            show(str(difference))
        say("crl topics apply fixes this" if differences else "All topics match the catalog.")
    if differences:
        raise typer.Exit(DIFFERENT)


@app.command("list")
def list_topics(context: typer.Context, json: Json = False) -> None:
    """List the topics of the catalog: their purpose and whether they exist."""
    admin = _admin(context)
    found = asyncio.run(admin.find())
    if json:
        entries = [
            {
                "topic": name,
                "exists": name in found,
                "partitions": found[name].partitions if name in found else None,
                "cleanup": spec.cleanup,
                "writers": spec.writers,
                "readers": spec.readers,
                "what": spec.what,
            }
            for name, spec in admin.specs.items()
        ]
        show_json({"topics": entries})
        return
    rows = [
        (name, found[name].partitions if name in found else "missing", spec.cleanup, spec.what)
        for name, spec in admin.specs.items()
    ]
    show_table(("topic", "partitions", "cleanup", "what"), rows, empty="The catalog is empty.")


@app.command()
def adopt(
    context: typer.Context,
    yes: Annotated[
        bool, typer.Option("--yes", help="Adopt the new log; without this option, only show what would change.")
    ] = False,
    json: Json = False,
) -> None:
    """Start a new incarnation after crl.invocations was deleted and created again.

    Stop every worker first. Windows and lifetimes are kept; reading starts at the beginning of the new log.
    """
    done = asyncio.run(adopt_log(context.obj.connected, dry_run=not yes))
    if json:
        show_json({"adopted": yes, "partitions": done})
        return
    for entry in done:
        show(f"partition {entry['partition']}: {entry['detail']}")
    say("Start the workers again." if yes else "Nothing was changed; add --yes to apply this.")


def _admin(context: typer.Context) -> TopicAdmin:
    settings = context.obj.connected
    return TopicAdmin(settings.kafka, settings.worker.app_id)
