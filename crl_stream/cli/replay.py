"""``crl replay``: run the engine over a file, without Kafka."""

from __future__ import annotations

import gc
import shutil
import sys
import tempfile
from array import array
from collections.abc import Callable, Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import orjson
import typer

from crl_stream.cli.outcome_file import Outcome, OutcomeFile
from crl_stream.cli.repeats import Repeats
from crl_stream.cli.replay_clock import steady
from crl_stream.cli.tail import line_of, time_of
from crl_stream.cli.talk import progress_bar, say, show_json
from crl_stream.core import messages as m
from crl_stream.core.instant import from_text
from crl_stream.kafka.reader import Received
from crl_stream.settings import Settings, load_remedies
from crl_stream.settings.profiles import MEANING
from crl_stream.stages.streaming import StreamingDriver
from crl_stream.visible import escape_json
from crl_stream.wire.codec import Rejected, decode, decode_unkeyed
from crl_stream.wire.records import Output
from crl_stream.wire.topics import ALERTS, DECISIONS, DEGRADATIONS, PROPOSALS, ROLLBACKS

_SHOWN: Final = frozenset((DEGRADATIONS, ROLLBACKS, DECISIONS, ALERTS, PROPOSALS))
_AT_ONCE: Final = 4_000
"""Messages per batch; each row is read and written once per batch."""
_SILENCE_MS: Final = 2_000
"""Milliseconds added after the last message, so that rows waiting for a certain time are published."""

_IN_MEMORY: Final = 4 << 20
"""Bytes of output kept in memory until the whole file is known to be valid."""

Timed = Iterable[tuple[int, Outcome]]
"""Messages, each with the time at which it is folded, in milliseconds."""


def replay(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON lines, one message each, plain or as .gz or .zst; - means stdin.")],
    by_time: Annotated[
        bool, typer.Option("--order-by-time", help="Fold in the order of timestamps. Default: the order of the file.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document per line; the last one is a summary.")
    ] = False,
) -> None:
    """Fold a file as a worker would, under the settings in force, and print what it would decide and propose.

    Writes nothing. A file has no append times, so the messages' timestamps set the time. Time never runs backwards, and
    a timestamp ahead of those that follow is ignored.
    """
    settings: Settings = context.obj.settings
    survey = Survey()
    driver = StreamingDriver(
        partitions=settings.kafka.partitions, remedies=load_remedies(settings.proposer.modifications)
    )
    _set_policy(driver, settings)
    # Values and rows form no reference cycles, and searching for cycles would take a tenth of the run.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    with OutcomeFile(file, "crl replay -") as source, tempfile.SpooledTemporaryFile(_IN_MEMORY) as said:
        show = _json_of if json else _line_of
        timed = iter(_by_time(survey, source) if by_time else steady(survey.watch(source)))
        first = list(islice(timed, 1))
        origin = settings.origins["profile"].source
        say(f"judged by profile {settings.profile} ({origin}): {MEANING[settings.profile]}")
        # Print nothing for a file with a bad line: the missing line could change everything after it.
        shown = _fold(driver, chain(first, timed), source, lambda received: said.write(show(received)))
        said.seek(0)
        sys.stdout.flush()
        shutil.copyfileobj(said, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    _summarise(settings, survey, driver, shown, by_time=by_time, json=json)


class Survey:
    """Statistics about the order of a file's messages."""

    def __init__(self) -> None:
        self.messages = 0
        self.backwards = 0
        """How often a timestamp is earlier than the previous one."""
        self.first_backwards: int | None = None
        """The first line whose timestamp is earlier than the previous one; None if there is none."""
        self.repeats = Repeats()

    def watch(self, source: OutcomeFile) -> Timed:
        """Yield the messages in the order of the file, each with its own time."""
        before, add = None, self.repeats.add
        for outcome in source.outcomes():
            message = outcome.message
            time = from_text(message.timestamp)
            if before is not None and time < before:
                self.backwards += 1
                if self.first_backwards is None:
                    self.first_backwards = outcome.number
            before = time
            add(outcome.key, message.invocation_id if isinstance(message, m.Invocation) else message.feedback_id)
            self.messages += 1
            yield time, outcome


def _by_time(survey: Survey, source: OutcomeFile) -> Timed:
    """Yield the messages by timestamp; equal timestamps keep the order of the file.

    The texts are kept in a temporary file, so memory holds two numbers per message.
    """
    times, places, place = array("q"), array("q"), 0
    with tempfile.TemporaryFile() as room:
        for time, outcome in survey.watch(source):
            times.append(time)
            places.append(place)
            place += room.write(outcome.value + b"\n")
        for number in sorted(range(len(times)), key=times.__getitem__):
            room.seek(places[number])
            value = room.readline().rstrip(b"\n")
            key, message = decode_unkeyed(value)
            yield times[number], Outcome(0, value, key, message)


def _set_policy(driver: StreamingDriver, settings: Settings) -> None:
    if settings.policies.canonical() == b"{}":
        return
    driver.pipe(
        m.SetPolicy(
            schema_version=m.SCHEMA_VERSION,
            command_id="replay-policy",
            timestamp="2000-01-01T00:00:00Z",
            actor="crl replay",
            policy=settings.policies,
            policy_hash=settings.policies.digest(),
        )
    )


def _fold(
    driver: StreamingDriver, timed: Timed, source: OutcomeFile, show: Callable[[Received], object]
) -> dict[str, int]:
    """Fold all messages, show the outputs, and count them by topic."""
    shown = dict.fromkeys(sorted(_SHOWN), 0)
    progress, messages, put = progress_bar(), iter(timed), driver.put
    progress("replaying", 0, 1)
    while batch := list(islice(messages, _AT_ONCE)):
        for time, outcome in batch:
            put(outcome.key, outcome.value, outcome.message, time if time > 0 else 0)
        _say(driver.pipe(), show, shown)
        done, size = source.progress()
        progress("replaying", min(done, size - 1), size)
    _say(driver.fall_silent(_SILENCE_MS), show, shown)
    driver.forget()
    progress("replaying", 1, 1)
    return shown


def _say(outputs: Iterable[Output], show: Callable[[Received], object], shown: dict[str, int]) -> None:
    """Merge the outputs of monitor and proposer by time, and show them."""
    found = []
    for output in outputs:
        if output.topic in _SHOWN:
            message: Any = output.value
            if isinstance(message, bytes):
                decoded = decode(output.topic, message, output.key)
                assert not isinstance(decoded, Rejected)
                message = decoded.message
            if not isinstance(message, m.CommandResult):
                found.append(Received(output.topic, output._replace(value=None), message))
                shown[output.topic] += 1
    for received in sorted(found, key=lambda one: time_of(one.message)):
        show(received)


def _line_of(received: Received) -> bytes:
    return line_of(received).encode() + b"\n"


def _json_of(received: Received) -> bytes:
    document = {"topic": received.topic, "message": msgspec.to_builtins(received.message)}
    return escape_json(orjson.dumps(document)) + b"\n"


def _summarise(
    settings: Settings, survey: Survey, driver: StreamingDriver, shown: dict[str, int], *, by_time: bool, json: bool
) -> None:
    repeated = survey.repeats.count()
    total, ring = driver.total, settings.policies.default.limits.duplicate_ids
    if json:
        summary = {
            "messages": survey.messages,
            "profile": settings.profile,
            "order": "time" if by_time else "file",
            "applied": total.applied,
            "repeated_ids": repeated,
            "duplicates": total.duplicates,
            "too_late": total.too_late,
            "dead_letters": total.dead_letters,
            "backwards": survey.backwards,
            "first_backwards_line": survey.first_backwards,
            "shown": {topic.removeprefix("crl."): count for topic, count in shown.items()},
        }
        show_json({"topic": "summary", "message": summary})
    if repeated or total.duplicates:
        again = max(0, repeated - total.duplicates)
        text = f"{repeated} messages repeat an earlier id: {total.duplicates} recognised as duplicates"
        if again:
            text += f", {again} counted again (a task remembers its last {ring} ids, limits.duplicate_ids)"
        say(text)
    if total.too_late:
        say(
            f"{total.too_late} scores came too late to count, since their outcomes had left the window; "
            "a larger degradation.lookback_window keeps them longer"
        )
    if survey.backwards and not by_time:
        often = "once" if survey.backwards == 1 else f"{survey.backwards} times"
        say(
            f"timestamps in the file go back {often}, first at "
            f"line {survey.first_backwards}; it was folded in the order of the file; --order-by-time folds by timestamp"
        )
    if total.dead_letters:
        say(f"{total.dead_letters} messages would be dead letters: the engine refuses them (too many variants?)")
    if not survey.messages:
        say("there was nothing to replay")
    decisions = sum(shown.values()) - shown[PROPOSALS]
    say(
        f"{survey.messages} messages, {decisions} decisions, alerts and rollbacks, "
        f"{shown[PROPOSALS]} new or changed proposals"
    )
