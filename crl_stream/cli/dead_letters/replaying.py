"""``crl dead-letters replay``: send the original bytes back to the topic they were read from.

A letter that was sent stays on the topic, followed by a mark. Without the mark it could be sent twice by mistake,
because the engine recognises an invocation only among the last ids of its task.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NamedTuple

import typer
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from crl_stream.cli.clock import now_ms
from crl_stream.cli.dead_letters.judging import RETURNABLE, Circumstances, Original, Step, plan
from crl_stream.cli.dead_letters.letters import (
    DeadLetter,
    choose,
    letter_at,
    pair_up,
    read_place,
    read_reason,
    read_time,
)
from crl_stream.cli.talk import progress_bar, say, show_json, show_table
from crl_stream.contract import load_catalog
from crl_stream.errors import CrlError, Unavailable, UsageError
from crl_stream.kafka.byte_names import ByteNamesBatch, has_byte_names
from crl_stream.kafka.commands import default_actor
from crl_stream.kafka.connection import connection_options, reaching
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import KafkaSession
from crl_stream.settings.model import Kafka
from crl_stream.wire.dead_letter import Mark, replay_mark
from crl_stream.wire.records import Output, record_size
from crl_stream.wire.topics import COMMANDS, DEAD_LETTERS, Topics

_AT_ONCE: Final = 500


class Sent(NamedTuple):
    """The new position of a record, or why it is not known."""

    partition: int | None = None
    offset: int | None = None
    trouble: str = ""


def replay(
    context: typer.Context,
    positions: Annotated[
        list[str] | None, typer.Argument(metavar="PARTITION:OFFSET", help="Positions that the records were read from.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="All with this reason.")] = None,
    topic: Annotated[str | None, typer.Option(help="All from this topic.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Select letters refused since then: 12h, 2d, a date or a timestamp.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Select letters refused before this time.")] = None,
    mend_key: Annotated[
        bool, typer.Option("--mend-key", help="Send outcomes under the key that their value implies.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Also send letters that are probably useless.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be sent.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    actor: Annotated[str | None, typer.Option("--actor", help="Your name in the record. Default: your login.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send dead letters back to the topic they came from, once the cause is fixed.

    Key, value and headers are unchanged. The records take effect now, at the end of the log. Exit code 1 if a selected
    letter was not sent.
    """
    by_filter = [reason, since, until]
    if not positions and not any([*by_filter, topic]):
        raise UsageError(
            "Name the letters to send.",
            hint="give PARTITION:OFFSET, or select with --reason, --topic, --since or --until",
        )
    if positions and any(by_filter):
        raise UsageError("Name letters or use filters, not both.", hint="leave out --reason, --since and --until")
    if topic is not None and topic not in RETURNABLE:
        topic = f"crl.{topic}" if f"crl.{topic}" in RETURNABLE else topic
        if topic not in RETURNABLE:
            raise UsageError(f"Records of {topic} cannot be sent back.", hint=f"one of {', '.join(RETURNABLE)}")
    now, wanted = datetime.now(UTC), read_reason(reason)
    begin, end = read_time(since, now), read_time(until, now)
    places = [read_place(position) for position in positions or ()]
    kafka = context.obj.kafka

    def pick(letters: Sequence[DeadLetter]) -> list[DeadLetter]:
        if places:
            return choose([letter_at(letters, topic, place) for place in places])
        chosen = choose(letters, reason=wanted, topic=topic, since=begin, until=end)
        if not force and (before := sum(one.replayed is not None for one in chosen)):
            say(f"{before} already replayed, skipped")
            chosen = [one for one in chosen if one.replayed is None]
        return chosen

    steps = asyncio.run(_prepare(kafka, pick, named=bool(places), force=force, mend_key=mend_key))
    sending = [step for step in steps if step.output is not None]
    sent: list[Sent] = []
    trouble: CrlError | None = None
    if sending and not dry_run:
        if len(sending) > 1 and not yes and not _agreed(sending):
            say("Nothing was sent.")
            raise typer.Exit(1)
        sent, trouble = asyncio.run(send(kafka, sending, actor or default_actor(), progress_bar()))
    _report(steps, sent, dry_run=dry_run, json=json)
    if trouble is not None:
        raise trouble
    if len(sending) < len(steps):
        raise typer.Exit(1)


async def _prepare(
    kafka: Kafka,
    pick: Callable[[Sequence[DeadLetter]], list[DeadLetter]],
    *,
    named: bool,
    force: bool,
    mend_key: bool,
) -> list[Step]:
    catalog, originals = load_catalog(), dict[tuple[str, int, int], Original | None]()
    async with KafkaSession(kafka) as session:
        reader = TopicReader(session)
        letters = pick(pair_up(await reader.read(DEAD_LETTERS)))
        # Only write access to `crl.commands` authorises a command, so each letter must match the record on that topic.
        for one in letters if named else ():
            if one.letter.topic == COMMANDS and min(one.place[1:]) >= 0:
                there = await reader.read_at(*one.place)
                originals[one.place] = None if there is None else (there.record.key, there.record.value)
        partitions = {topic: await reader.partitions(topic) for topic in RETURNABLE}
    about = Circumstances(
        partitions=partitions,
        max_bytes={topic: catalog[topic].max_message_bytes for topic in RETURNABLE},
        now=now_ms(),
        named=named,
        force=force,
        mend_key=mend_key,
        originals=originals,
    )
    return plan(letters, about)


def _agreed(sending: Sequence[Step]) -> bool:
    """Ask for confirmation; raises ``UsageError`` without a terminal."""
    topics = " and ".join(sorted({step.output.topic for step in sending if step.output}))
    question = f"Send {len(sending)} records back to {topics}? They take effect now, after everything already there"
    if not _can_ask():
        raise UsageError(
            f"{len(sending)} records would be sent back to {topics}.", hint="--dry-run shows them, --yes sends them"
        )
    return typer.confirm(question, err=True)


def _can_ask() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


async def send(
    kafka: Kafka, steps: Sequence[Step], actor: str, progress: Callable[[str, int, int], None]
) -> tuple[list[Sent], CrlError | None]:
    """Send the records of ``steps`` in order and mark those that Kafka has confirmed.

    Stops after the first batch with a failure. ``actor`` is named in the marks; ``progress`` is called with a label,
    the number sent and the total. Returns where each attempted record is, and the error if there was one.
    """
    producer = AIOKafkaProducer(
        **connection_options(kafka),
        acks="all",
        enable_idempotence=True,
        max_request_size=load_catalog()[DEAD_LETTERS].max_message_bytes,
    )
    names, done, unmarked = Topics(kafka.topic_prefix), list[Sent](), 0
    progress("replaying", 0, len(steps))
    try:
        with reaching(kafka):
            try:
                await producer.start()
                for start in range(0, len(steps), _AT_ONCE):
                    chunk = steps[start : start + _AT_ONCE]
                    results = await _publish(producer, names, (s.output for s in chunk if s.output is not None))
                    done += [_sent(result) for result in results]
                    marks = [_mark(s, r, actor) for s, r in zip(chunk, results, strict=True) if not _failed(r)]
                    marked = await _publish(producer, names, marks)
                    unmarked += sum(map(_failed, marked))
                    progress("replaying", len(done), len(steps))
                    for failure in (*results, *marked):
                        if _failed(failure):
                            raise failure
            finally:
                await producer.stop()
    except Unavailable as error:
        progress("replaying", max(len(done), 1), max(len(done), 1))  # end the progress bar where it is
        arrived = sum(not one.trouble for one in done)
        without = f", {unmarked} of them without a mark" if unmarked else ""
        said = f"{error.message.rstrip('.')}; {arrived} of {len(steps)} were sent{without}."
        return done, Unavailable(said, hint=error.hint)
    return done, None


async def _publish(producer: AIOKafkaProducer, names: Topics, outputs: Iterable[Output]) -> list[Any]:
    """Queue all records and wait for all of them; return Kafka's answer or the error for each."""
    futures: list[Any] = []
    for output in outputs:
        topic, key, value = names(output.topic), output.key, output.value
        try:
            if has_byte_names(output.headers):
                lone = ByteNamesBatch(key, value, output.headers, record_size(key, value, output.headers))
                future = await producer.send_batch(lone, topic, partition=output.partition)
            else:
                future = await producer.send(
                    topic, value, key=key, partition=output.partition, headers=list(output.headers)
                )
        except KafkaError as error:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(error)
        futures.append(future)
    return await asyncio.gather(*futures, return_exceptions=True)


def _failed(result: Any) -> bool:
    return isinstance(result, BaseException)


def _sent(result: Any) -> Sent:
    if _failed(result):
        return Sent(trouble=f"Kafka did not confirm it, so it may or may not have arrived: {type(result).__name__}")
    return Sent(result.partition, result.offset)


def _mark(step: Step, result: Any, actor: str) -> Output:
    one = step.letter
    return replay_mark(Mark(*one.place, result.partition, result.offset, actor), one.record.partition, one.record.key)


def _report(steps: Sequence[Step], sent: Sequence[Sent], *, dry_run: bool, json: bool) -> None:
    """Report what was done with each dead letter."""
    results = iter(sent)
    entries = []
    for step in steps:
        letter, output = step.letter.letter, step.output
        entry: dict[str, Any] = {
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "reason": letter.reason,
        }
        result = None if output is None or dry_run else next(results, None)
        if output is None:
            outcome = "refused"
        elif dry_run:
            outcome = "would be sent"
        elif result is None:
            outcome = "not tried"
        else:
            outcome = "unconfirmed" if result.trouble else "sent"
        why = step.note + ("; --force sends it" if step.forcible and output is None else "")
        entry |= {
            "outcome": outcome,
            "detail": result.trouble if result is not None and result.trouble else why,
            "to_partition": None if output is None else output.partition,
            "to_offset": None if result is None else result.offset,
        }
        entries.append(entry)
    counts = {name: sum(entry["outcome"] == name for entry in entries) for name in ("sent", "would be sent", "refused")}
    if json:
        totals = {"sent": counts["sent"], "refused": counts["refused"]}
        show_json({"dry_run": dry_run, **totals, "letters": entries})
        return
    rows = [
        (
            f"{e['partition']}:{e['offset']}",
            e["topic"],
            e["reason"],
            e["outcome"] + _place(e["to_partition"], e["to_offset"]),
            e["detail"],
        )
        for e in entries
    ]
    show_table(("source", "topic", "reason", "outcome", "detail"), rows, empty="No letter matches.")
    if rows:
        say(", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing was sent")


def _place(partition: int | None, offset: int | None) -> str:
    if partition is None:
        return ""
    return f" to partition {partition}" if offset is None else f" to {partition}:{offset}"
