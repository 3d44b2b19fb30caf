"""``crl dead-letters``: records that could not be used, with their bytes and the reason."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from crl_stream.cli.talk import say, show, show_json, show_table
from crl_stream.errors import NotFound, UsageError
from crl_stream.topic_reader import Received, TopicReader
from crl_stream.wire.dead_letter import read_letter
from crl_stream.wire.reasons import MEANING
from crl_stream.wire.topics import DEAD_LETTERS

app = typer.Typer(help="Records that could not be used: what they were and why.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_letters(
    context: typer.Context,
    reason: Annotated[str | None, typer.Option(help="Only with this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    json: Json = False,
) -> None:
    """List dead letters, newest first."""
    if reason is not None and reason not in MEANING:
        raise UsageError(f"There is no reason {reason}.", hint=f"one of {', '.join(MEANING)}")
    found = asyncio.run(TopicReader(context.obj.kafka).read(DEAD_LETTERS))
    letters = [one for one in found if reason in {None, read_letter(one.record.headers).reason}]
    letters.sort(key=lambda one: one.record.timestamp, reverse=True)
    if json:
        show_json({"dead_letters": [_document(one) for one in letters[:limit]]})
        return
    rows = []
    for one in letters[:limit]:
        letter = read_letter(one.record.headers)
        rows.append((f"{letter.partition}:{letter.offset}", letter.topic, letter.reason, letter.detail))
    show_table(("source", "topic", "reason", "detail"), rows, empty="No record was refused.")


@app.command()
def show_letter(
    context: typer.Context,
    position: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="Where the record was read from.")],
    topic: Annotated[str | None, typer.Option(help="Which topic it was read from; default: whichever has one.")] = None,
    json: Json = False,
) -> None:
    """Show one: reason, meaning, headers and original bytes."""
    partition, colon, offset = position.partition(":")
    if not colon or not partition.isdigit() or not offset.isdigit():
        raise UsageError(
            f"{position} is no position.", hint="write PARTITION:OFFSET, as crl dead-letters list shows it"
        )
    one = _at(asyncio.run(TopicReader(context.obj.kafka).read(DEAD_LETTERS)), topic, int(partition), int(offset))
    letter = read_letter(one.record.headers)
    if json:
        show_json(_document(one))
        return
    show(f"{letter.topic} {letter.partition}:{letter.offset}  {letter.reason}: {letter.detail}")
    say(MEANING.get(letter.reason, ""))
    for name, value in one.record.headers:
        show(f"  {name} = {value.decode('utf-8', 'backslashreplace')}")
    show(f"  key = {_text(one.record.key)}")
    show(_text(one.record.value) or "")


app.registered_commands[-1].name = "show"


def _at(found: list[Received], topic: str | None, partition: int, offset: int) -> Received:
    """The letter from this place; the same place of two topics is asked back."""
    there = {}
    for one in found:
        letter = read_letter(one.record.headers)
        if (letter.partition, letter.offset) == (partition, offset) and topic in {None, letter.topic}:
            there[letter.topic] = one
    if not there:
        source = f"{topic} {partition}:{offset}" if topic else f"{partition}:{offset}"
        raise NotFound(f"There is no dead letter of {source}.", hint="crl dead-letters list lists them")
    if len(there) > 1:
        raise UsageError(
            f"There is one of {' and one of '.join(sorted(there))} at {partition}:{offset}.",
            hint=f"add --topic {min(there)}",
        )
    return next(iter(there.values()))


def _document(one: Received) -> dict[str, Any]:
    record = one.record
    return read_letter(record.headers)._asdict() | {
        "key": _text(record.key),
        "value": _text(record.value),
        "value_hex": None if record.value is None else record.value.hex(),
        "headers": {name: _text(value) for name, value in record.headers},
        "dead_letter_partition": record.partition,
        "dead_letter_offset": record.offset,
    }


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")
