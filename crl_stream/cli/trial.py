"""``crl replay --policy``: fold a log under two policies, and show what would have been decided differently."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any, NamedTuple

import typer

from crl_stream.cli.chosen_policy import SETTINGS, ChosenPolicy, choose_policy
from crl_stream.cli.talk import say, show_json
from crl_stream.cli.trial_input import FileInput, TopicInput
from crl_stream.cli.trial_text import show_comparison
from crl_stream.core.policy import GUIDE, PolicySet
from crl_stream.errors import UsageError
from crl_stream.kafka.retained_log import RetainedLog
from crl_stream.kafka.session import KafkaSession
from crl_stream.trial.comparison import Comparison, compare
from crl_stream.trial.page import page
from crl_stream.trial.record import compare_with_record
from crl_stream.trial.report import CUT, report
from crl_stream.trial.run import READ, Piece, Run
from crl_stream.trial.traffic import TrafficOfTasks

DIFFERENT = 3


class Trial(NamedTuple):
    """The arguments of ``crl replay`` that a trial needs."""

    file: Path | None
    """The file of outcomes to fold; None to fold the log on the topics."""
    policy: str
    """The policy to try, as a word for ``choose_policy``; so is ``against``."""
    against: str
    by_time: bool
    json: bool
    html: Path | None


def try_policy(session: Any, trial: Trial) -> None:
    """Compare both policies, print the report, and exit with 3 if they decide differently."""
    if trial.html is not None and not trial.html.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {trial.html.parent}.", hint="create it, or name another file with --html")
    if trial.html is not None and trial.html.is_dir():
        raise UsageError(f"{trial.html} is a folder.", hint=f"name a file, such as {trial.html}/replay.html")
    # Values and rows form no reference cycles, and searching for cycles would take a tenth of the run.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    comparison = asyncio.run(_compare(session, trial))
    if trial.json:
        show_json(report(comparison))
    else:
        show_comparison(comparison)
    if trial.html is not None:
        _write(trial.html, page(comparison))
    _warn(comparison)
    if not comparison.is_same:
        raise typer.Exit(DIFFERENT)


async def _compare(session: Any, trial: Trial) -> Comparison:
    against = await choose_policy(trial.against, session)
    policy = await choose_policy(trial.policy, session)
    if trial.file is None:
        return await _compare_topics(session.connected, against, policy)
    # A file sets no policies of its own, so it is judged by the settings, as by `crl replay FILE`.
    yours = await choose_policy(SETTINGS, session)
    against, policy = (yours if chosen.policies is None else chosen for chosen in (against, policy))
    source = FileInput(trial.file, session.settings.kafka.partitions, by_time=trial.by_time)
    one, other = (_run_of(source.partitions, chosen, None) for chosen in (against, policy))
    traffic = TrafficOfTasks(source.partitions)
    for piece in source.pieces():
        _take(piece, traffic, one, other)
    return compare((against.label, one), (policy.label, other), traffic, source.described(), None)


async def _compare_topics(settings: Any, against: ChosenPolicy, policy: ChosenPolicy) -> Comparison:
    async with KafkaSession(settings.kafka) as session:
        log = await RetainedLog.opened(session, settings, READ)
        source = TopicInput(log)
        one, other = (_run_of(source.partitions, chosen, log) for chosen in (against, policy))
        traffic = TrafficOfTasks(source.partitions)
        async for piece in source.pieces():
            _take(piece, traffic, one, other)
        recorded = None
        if against.policies is None:
            recorded = compare_with_record(one.decided, await source.published(), source.extents(), log.cut)
        return compare((against.label, one), (policy.label, other), traffic, source.described(), recorded)


def _run_of(partitions: int, chosen: ChosenPolicy, log: RetainedLog | None) -> Run:
    def first(piece: Piece) -> PolicySet:
        return GUIDE if log is None else log.policies_at(piece.partition, piece.entries[0].record.timestamp)

    return Run(partitions, chosen.policies, first)


def _take(piece: Piece, traffic: TrafficOfTasks, *runs: Run) -> None:
    traffic.add(piece.partition, piece.entries)
    for run in runs:
        run.fold(piece)


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.", hint="name another file with --html"
        ) from error
    say(f"wrote {path}")


def _warn(comparison: Comparison) -> None:
    """Print on stderr what limits the report."""
    source = comparison.source
    if not source.records:
        say("there was nothing to replay")
    if source.is_cut:
        say(CUT)
