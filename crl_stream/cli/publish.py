"""``crl publish``: publish one outcome or a file of outcomes."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer

from crl_stream.cli.file_publisher import Digest, Plan, Sent, find_target, publish_file
from crl_stream.cli.outcome_file import OutcomeFile
from crl_stream.cli.publish_journal import Journal, Progress, alone, journals_near, matching
from crl_stream.cli.session import Session, task_key
from crl_stream.cli.silence import KafkaSilence
from crl_stream.cli.talk import progress_bar, say, show_json
from crl_stream.client.publisher import QUEUE_SIZE, Publisher, checked, utc_now
from crl_stream.core import messages as m
from crl_stream.errors import Unavailable, UsageError

_BUT: Final = "except for the last 64 ids of a task (limits.duplicate_ids)"
"""The exception to double counting: messages that the monitor recognises as duplicates by their ids."""


def publish(
    context: typer.Context,
    task: Annotated[str | None, typer.Argument(metavar="[AGENT/TASK]", help="The task of a single outcome.")] = None,
    variant: Annotated[str | None, typer.Option("--variant", "-v", help="The variant that was used.")] = None,
    status: Annotated[str, typer.Option(help="success, failure or error.")] = "success",
    reward: Annotated[float | None, typer.Option(help="In [-1, 1]; computed if absent.")] = None,
    quality: Annotated[float | None, typer.Option(help="In [0, 1].")] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds.")] = None,
    errors: Annotated[int, typer.Option(help="Number of errors during the task.")] = 0,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Publish this many copies.")] = 1,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="A file of JSON lines, one message each; - means stdin.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds to wait while Kafka accepts nothing.")
    ] = 60.0,
    again: Annotated[
        bool, typer.Option("--again", help="Publish a file from the beginning, even if it was published before.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Publish one outcome, or every message of a file, and wait until Kafka has them.

    A file may be compressed (.gz, .zst). A journal beside it records the progress: the same command resumes after an
    interruption, publishes what was added to the file since, and refuses to publish a file twice.
    """
    if (file is None) == (task is None):
        raise UsageError("Publish one outcome or a file.", hint="crl publish AGENT/TASK -v VARIANT, or --file FILE")
    if file is not None:
        _publish_file(context.obj, file, again=again, timeout=timeout, json=json)
        return
    if variant is None:
        raise UsageError("Name the variant that was used.", hint="add --variant VARIANT")
    key = task_key(task or "")
    messages = [
        m.Invocation(
            schema_version=m.SCHEMA_VERSION,
            invocation_id=f"cli-{time.time_ns()}-{number}",
            timestamp=utc_now(),
            agent_name=key.agent_name,
            task_type=key.task_type,
            variant_id=variant,
            status=status,  # type: ignore[arg-type]
            reward=reward,
            quality=quality,
            duration_seconds=duration,
            error_count=errors,
        )
        for number in range(count)
    ]
    checked(messages[0])
    with Publisher(context.obj.connected) as publisher:
        silence = KafkaSilence(publisher.settings.kafka.bootstrap_servers, f"the command gives up after {timeout:g} s")
        if _send(publisher, messages, timeout, silence):
            _wait(publisher, timeout, silence)
        stats = publisher.close(0.0)
    if json:
        show_json(stats._asdict())
    if stats.sent < len(messages):
        where = publisher.settings.kafka.bootstrap_servers
        why = f": {publisher.trouble.rstrip('.')}" if publisher.trouble else ""
        raise Unavailable(
            f"Kafka at {where} accepted {stats.sent} of {len(messages)} messages{why}.",
            hint="is it running, and do its topics exist (crl topics diff)? repeating the command creates new ids, so "
            "outcomes that have arrived would count twice",
        )
    say(f"{stats.sent} published")


def _wait(publisher: Publisher, timeout: float, silence: KafkaSilence) -> None:
    """Wait until Kafka has every message, for at most ``timeout`` seconds."""
    began = time.monotonic()
    while (left := began + timeout - time.monotonic()) > 0.0 and not publisher.flush(min(1.0, left)):
        silence.note(time.monotonic() - began)


def _send(publisher: Publisher, messages: list[Any], timeout: float, silence: KafkaSilence) -> bool:
    """Queue all messages as fast as Kafka accepts them; returns False if it accepts nothing for ``timeout`` seconds."""
    progress = progress_bar()
    progress("publishing", 0, len(messages))
    for number, message in enumerate(messages, start=1):
        sent, since = publisher.stats.sent, time.monotonic()
        while publisher.stats.queued >= QUEUE_SIZE // 2:
            publisher.flush(min(1.0, timeout))
            if publisher.stats.sent != sent:
                sent, since = publisher.stats.sent, time.monotonic()
            silence.note(time.monotonic() - since)
            if time.monotonic() - since >= timeout:
                return False
        publisher.publish(message)
        if number % 100 == 0 or number == len(messages):
            progress("publishing", number, len(messages))
    return True


class _Before(NamedTuple):
    """A file that was read once and found valid, with its journals."""

    plan: Plan
    journals: list[Progress]
    prefixes: dict[int, str]
    """Hash of the first n messages, for each n that a journal names."""


def _publish_file(session: Session, file: Path, *, again: bool, timeout: float, json: bool) -> None:
    with OutcomeFile(file, "crl publish -f -") as source, alone(file) if source.is_regular else nullcontext():
        before = _read_before(source)
        if before.plan.messages == 0:
            say("there was nothing to publish")
        kafka = session.connected.kafka
        silence = KafkaSilence(kafka.bootstrap_servers, f"the command gives up after {timeout:g} s")
        try:
            target = asyncio.run(find_target(kafka, timeout, silence.note))
        except Unavailable as error:
            raise Unavailable(
                f"Kafka at {kafka.bootstrap_servers} accepted 0 of {before.plan.messages} messages: "
                f"{error.message.rstrip('.')}.",
                hint=error.hint,
            ) from error
        after = None if again else _position(before, target.id, file)
        journal = Journal(file, target.id) if source.is_regular else None
        done = asyncio.run(
            publish_file(
                kafka,
                source,
                before.plan,
                target,
                after=after,
                journal=journal,
                timeout=timeout,
                progress=progress_bar(),
                silence=silence.note,
            )
        )
    _tell(before.plan, after, done, journal, kafka.bootstrap_servers, json=json)


def _read_before(source: OutcomeFile) -> _Before:
    """Read the whole file first, so that nothing is published if a worker would reject any line."""
    journals = journals_near(source.path) if source.is_regular else []
    wanted = {one.sent for one in journals}
    digest, messages, prefixes = Digest(), 0, {}
    for outcome in source.outcomes():
        digest.add(outcome)
        messages += 1
        if messages in wanted:
            prefixes[messages] = digest.text()
    return _Before(Plan(source.name, messages, digest.text()), journals, prefixes)


def _position(before: _Before, target: str, file: Path) -> Progress | None:
    """Return where an earlier run of this content ended; raises ``UsageError`` if all of it was published."""
    plan = before.plan
    found = matching(before.journals, target, plan.messages, plan.content, before.prefixes)
    if found is None:
        if any(one.file == plan.file and one.target == target and one.sent for one in before.journals):
            say(f"{file} has changed since it was last published; publishing all of it")
        return None
    if found.sent == plan.messages:
        name = "" if found.file == plan.file else f", as {found.file}"
        raise UsageError(
            f"All {plan.messages} messages of {file} were published before ({found.at}{name}).",
            hint=f"--again publishes them once more; the monitor then counts each of them twice, {_BUT}",
        )
    if found.complete:
        say(f"{file} has grown: its first {found.sent} messages were published ({found.at}); continuing after them")
    else:
        say(f"continuing after message {found.sent} of {plan.messages}, where an earlier run ended ({found.at})")
    return found


def _tell(plan: Plan, after: Progress | None, done: Sent, journal: Journal | None, where: str, *, json: bool) -> None:
    earlier = after.sent if after is not None else 0
    now_sent = done.sent - earlier - done.recognised
    kept = str(journal.path) if journal is not None and journal.path is not None else None
    if json:
        show_json(
            {
                "messages": plan.messages,
                "sent": now_sent,
                "sent_before": earlier + done.recognised,
                "left": plan.messages - done.sent,
                "journal": kept,
            }
        )
    if done.sent == plan.messages:
        say(f"{now_sent} published" + (f", {earlier + done.recognised} before" if earlier else ""))
        return
    goes_on = (
        f"run the same command again to continue from there ({kept})"
        if kept is not None
        else f"there is no journal: publishing the file again would double-count what has arrived, {_BUT}"
    )
    if done.interrupted:
        say(f"{done.sent} of {plan.messages} messages are published; {goes_on}")
        raise KeyboardInterrupt
    raise Unavailable(
        f"Kafka at {where} accepted {done.sent} of {plan.messages} messages: {done.trouble}.",
        hint=f"is it running, and do its topics exist (crl topics diff)? {goes_on}",
    )
