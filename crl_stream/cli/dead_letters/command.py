"""The group ``crl dead-letters`` and its reading commands: list, show."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from crl_stream.cli.dead_letters.letters import DeadLetter, letter_at, pair_up, read_place, read_reason
from crl_stream.cli.dead_letters.replaying import replay
from crl_stream.cli.talk import show, show_json, show_table
from crl_stream.core.instant import to_text
from crl_stream.kafka.reader import TopicReader
from crl_stream.wire.reasons import MEANING
from crl_stream.wire.record_batch import encode_name
from crl_stream.wire.topics import DEAD_LETTERS

app = typer.Typer(help="List, show and send back records that could not be used.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_letters(
    context: typer.Context,
    reason: Annotated[str | None, typer.Option(help="Only with this reason.")] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Show only letters that have not been replayed.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many letters, newest first.")] = 50,
    json: Json = False,
) -> None:
    """List dead letters, newest first."""
    read_reason(reason)
    letters = [
        one
        for one in pair_up(asyncio.run(TopicReader(context.obj.kafka).read(DEAD_LETTERS)))
        if reason in {None, one.letter.reason} and not (only_open and one.replayed)
    ]
    letters.sort(key=lambda one: one.record.timestamp, reverse=True)
    if json:
        show_json({"dead_letters": [_document(one) for one in letters[:limit]]})
        return
    rows = [
        (
            one.source,
            one.letter.topic,
            to_text(one.record.timestamp),
            one.letter.reason,
            one.letter.detail + (f" (replayed {one.replayed})" if one.replayed else ""),
        )
        for one in letters[:limit]
    ]
    show_table(("source", "topic", "refused at", "reason", "detail"), rows, empty="There are no dead letters.")


@app.command("show")
def show_letter(
    context: typer.Context,
    position: Annotated[
        str, typer.Argument(metavar="PARTITION:OFFSET", help="The position that the record was read from.")
    ],
    topic: Annotated[
        str | None,
        typer.Option(help="Topic of the record. Needed only if two topics have a letter from this position."),
    ] = None,
    json: Json = False,
) -> None:
    """Show one dead letter: reason, meaning, headers and original bytes."""
    place = read_place(position)
    one = letter_at(pair_up(asyncio.run(TopicReader(context.obj.kafka).read(DEAD_LETTERS))), topic, place)
    if json:
        show_json(_document(one))
        return
    letter = one.letter
    show(f"{letter.topic} {one.source}  {letter.reason}: {letter.detail}")
    show(MEANING.get(letter.reason, ""))
    if one.replayed:
        show(f"replayed {one.replayed}")
    for name, value in one.record.headers:
        show(f"  {_text(encode_name(name))} = {_text(value)}")
    show(f"  key = {_text(one.record.key)}")
    show(_text(one.record.value) or "")


app.command()(replay)


def _document(one: DeadLetter) -> dict[str, Any]:
    record, replayed = one.record, one.replayed
    return one.letter._asdict() | {
        "refused_at": to_text(record.timestamp),
        "replayed": None if replayed is None else replayed.mark._asdict() | {"at": to_text(replayed.at)},
        "key": _text(record.key),
        "value": _text(record.value),
        "value_hex": None if record.value is None else record.value.hex(),
        "headers": {str(_text(encode_name(name))): _text(value) for name, value in record.headers},
        "dead_letter_partition": record.partition,
        "dead_letter_offset": record.offset,
    }


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")
