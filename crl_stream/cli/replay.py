"""``crl replay``: run the engine over a file without Kafka, or compare two policies (``trial``)."""

from __future__ import annotations

import gc
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import orjson
import typer

from crl_stream.cli.chosen_policy import LOG, SETTINGS
from crl_stream.cli.outcome_file import OutcomeFile
from crl_stream.cli.replay_order import Survey, Timed, in_order
from crl_stream.cli.tail import line_of, time_of
from crl_stream.cli.talk import progress_bar, say, show_json
from crl_stream.cli.trial import Trial, try_policy
from crl_stream.core import messages as m
from crl_stream.errors import UsageError
from crl_stream.kafka.reader import Received
from crl_stream.settings import Settings, load_remedies
from crl_stream.settings.profiles import MEANING
from crl_stream.stages.streaming import StreamingDriver
from crl_stream.visible import escape_json
from crl_stream.wire.codec import Rejected, decode
from crl_stream.wire.records import Output
from crl_stream.wire.topics import ALERTS, DECISIONS, DEGRADATIONS, PROPOSALS, ROLLBACKS

_SHOWN: Final = frozenset((DEGRADATIONS, ROLLBACKS, DECISIONS, ALERTS, PROPOSALS))
_AT_ONCE: Final = 4_000
"""Messages per batch; each row is read and written once per batch."""
_SILENCE_MS: Final = 2_000
"""Milliseconds added after the last message, so that rows waiting for a certain time are published."""

_IN_MEMORY: Final = 4 << 20
"""Bytes of output kept in memory until the whole file is known to be valid."""


def replay(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="JSON lines, one message each, plain, .gz or .zst; - is stdin. Default: your topics."
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            metavar="POLICY",
            help="Try this policy: a settings file, settings (yours), in-force, or a profile's name.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="POLICY",
            help="Compare with this policy instead of those that the log itself sets (for a file: your settings).",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write the comparison as one HTML file.")
    ] = None,
    by_time: Annotated[
        bool, typer.Option("--order-by-time", help="Fold a file by its timestamps. Default: the order of the file.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: one document a line, or one comparison.")] = False,
) -> None:
    """Replay a file or the retained log, and show what another policy would have decided. Writes no topic.

    A file alone is folded as a worker would under your settings, and every decision and proposal is printed. With
    --policy or --against, or without a file, the log is folded under two policies and the differences are shown; exit
    code 3 if there are any. Without --policy, it tries your settings, as `crl policy apply` would set them.

    A file has no append times, so the messages' timestamps set the time. Time never runs backwards, and a timestamp
    ahead of those that follow is ignored.
    """
    if file is None or policy is not None or against is not None or html is not None:
        if file is None and by_time:
            raise UsageError("--order-by-time needs a file.", hint="leave it out: a log has only one order")
        try_policy(context.obj, Trial(file, policy or SETTINGS, against or LOG, by_time, json, html))
        return
    _list_decisions(context.obj.settings, file, by_time=by_time, json=json)


def _list_decisions(settings: Settings, file: Path, *, by_time: bool, json: bool) -> None:
    """Fold a file under the settings, and print every decision."""
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
        timed = iter(in_order(survey, source, by_time=by_time))
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
