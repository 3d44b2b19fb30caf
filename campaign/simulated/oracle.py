"""Checks what must be true under any schedule, by comparison with a fold of each log from its beginning in one batch.

It also counts without the engine: each outcome sent must be in a row once, and each command must have one result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from campaign.simulated.broker import Broker
from campaign.simulated.figures import Figures
from campaign.simulated.processes import Kind, Table, remedies
from campaign.simulated.traffic import Traffic
from crl_stream.core.messages import CommandResult
from crl_stream.core.monitor.row import decode_row, row_position
from crl_stream.core.overview.notes import OWN_ALERTS
from crl_stream.stages.entries import command_positions, decode_batch
from crl_stream.stages.fold import Folded
from crl_stream.stages.inlet import reference_commands
from crl_stream.stages.monitor import fold_batch
from crl_stream.stages.overview import fold_notes
from crl_stream.stages.partition import partition_key
from crl_stream.stages.proposer import decode_snapshots, propose_batch
from crl_stream.stages.tally import SentNotes, note_records
from crl_stream.stages.topology import FIRST, INLET, MONITOR, OVERVIEW_PAGE, PROPOSER, STAGES, TALLY
from crl_stream.wire.codec import decode
from crl_stream.wire.dead_letter import read_letter
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Output
from crl_stream.wire.topics import ALERTS, DEAD_LETTERS, DECISIONS

_COMMANDS: Final = INLET.source
_LOG: Final = MONITOR.source
_SNAPSHOTS: Final = PROPOSER.source
_NOTES: Final = OVERVIEW_PAGE.source
[_PAGE] = OVERVIEW_PAGE.standing
_COMPACTED: Final = (*MONITOR.standing, *PROPOSER.standing)
_OUTPUTS: Final = tuple(
    dict.fromkeys(
        topic
        for stage in STAGES
        for topic in stage.writes
        # The other topics are compared separately, except commands: only people send them here; no ``tags`` role runs.
        if topic not in {_LOG, _NOTES, _PAGE, _COMMANDS}
    )
)
"""Topics whose records are compared with the outputs of a fold."""


def examine(broker: Broker, traffic: Traffic, figures: Figures) -> None:
    """Compare what the stages wrote with the fold, and add the differences to ``figures``."""
    _Examination(broker, traffic, figures).run()


class _Examination:
    def __init__(self, broker: Broker, traffic: Traffic, figures: Figures) -> None:
        self.broker, self.traffic, self.figures = broker, traffic, figures
        self.wanted: dict[tuple[str, int], list[Any]] = {}

    def run(self) -> None:
        folds = [self._fold_log(partition) for partition in range(self.broker.partitions)]
        for partition, folded in enumerate(folds):
            self._compare_rows(Kind.MONITOR, partition, folded, self.broker.topics[_LOG][partition])
            self._want(folded.outputs)
        for partition, log in enumerate(self.broker.topics[_COMMANDS]):
            self._want(reference_commands(partition, self.broker.partitions, log))
        for partition, folded in enumerate(folds):
            self._propose(partition, [o for o in folded.outputs if o.topic == _SNAPSHOTS])
        self._fold_overview()
        self._compare_outputs()
        self._compare_appended()
        self._compare_last()
        self._compare_shown(folds)
        self._count_sent({key: value for folded in folds for key, value in folded.rows.items()})

    # -- the folds ---------------------------------------------------------------------------------
    def _fold_log(self, partition: int) -> Folded:
        entries = decode_batch(self.broker.topics[_LOG][partition])
        commands = {}
        for place in command_positions(entries):
            record = self.broker.value_at(_COMMANDS, *place)
            commands[place] = None if record is None else record.value
        return fold_batch(partition, self.broker.partitions, None, {}, entries, commands)

    def _propose(self, partition: int, snapshots: list[Output]) -> None:
        """Compare the proposer's rows and outputs with a fold of its snapshots, with and without repeated snapshots."""
        log = self.broker.topics[_SNAPSHOTS][partition]
        found = propose_batch(partition, self.broker.partitions, None, {}, decode_snapshots(log), remedies())
        self._compare_rows(Kind.PROPOSER, partition, found, log)
        first = {record.value: record for record in reversed(log)}
        calm = [first[o.value]._replace(offset=n, key=o.key) for n, o in enumerate(snapshots) if o.value in first]
        undisturbed = propose_batch(partition, self.broker.partitions, None, {}, decode_snapshots(calm), remedies())
        if undisturbed.rows != found.rows:
            self._wrong(1, f"proposer {partition}: repeated snapshots changed a row")
        self._want(undisturbed.outputs or found.outputs)

    def _fold_overview(self) -> None:
        log = self.broker.topics[_NOTES][0]
        folded = fold_notes(None, {}, log)
        self._compare_rows(Kind.OVERVIEW, FIRST, folded, log)
        self._want(o for o in folded.outputs if o.topic != _PAGE)
        pages = [o.value for o in folded.outputs if o.topic == _PAGE]
        shown = [r.value for r in self.broker.topics[_PAGE][0]]
        if not pages:
            return
        newest = max(shown, key=lambda page: _message(_PAGE, page, b"overview").as_of.offset, default=None)
        if newest != pages[-1]:
            self._wrong(1, "the newest page does not include all notes")
        if shown[-1:] != [newest]:
            self._stale(1, f"the last record of {_PAGE} is an old page")
        tasks = len({record.key for partition in self.broker.topics[_SNAPSHOTS] for record in partition})
        if (counted := _message(_PAGE, pages[-1], b"overview").tasks) != tasks:
            self._wrong(1, f"the page counts {counted} of {tasks} tasks")

    # -- comparisons -------------------------------------------------------------------------------
    def _compare_rows(self, kind: Kind, partition: int, folded: Folded, log: list[Any]) -> None:
        there = Table(None, kind, partition, self.broker).rows(partition)
        wanted = dict(folded.rows) | ({partition_key(partition): folded.partition_row} if log else {})
        self.figures.rows += len(wanted)
        wrong = {key for key in there.keys() | wanted.keys() if there.get(key) != wanted.get(key)}
        if wrong:
            self._wrong(len(wrong), f"{kind.value} {partition}: rows {sorted(wrong)} differ from the fold")

    def _compare_outputs(self) -> None:
        for topic in _OUTPUTS:
            for partition, log in enumerate(self.broker.topics[topic]):
                found = [_identity(record, topic) for record in log]
                wanted = list(dict.fromkeys(self.wanted.get((topic, partition), [])))
                distinct = list(dict.fromkeys(found))
                self.figures.outputs += len(distinct)
                self.figures.duplicates += len(found) - len(distinct)
                self._compare_sets(f"{topic} {partition}", set(distinct), set(wanted))
                # The dead letters and alerts of several stages share a partition; each stage keeps its own order.
                if topic not in {DEAD_LETTERS, ALERTS} and set(distinct) == set(wanted) and distinct != wanted:
                    self.figures.disordered += 1
                    self.figures.complaints.append(f"{topic} {partition}: the order differs from the log")
                elif topic == ALERTS:
                    self._compare_order(f"{topic} {partition}", distinct, wanted)

    def _compare_order(self, where: str, distinct: list[Any], wanted: list[Any]) -> None:
        def own(alerts: list[Any]) -> list[Any]:
            return [(k, v) for k, v in alerts if _message(ALERTS, v, k).kind not in OWN_ALERTS]

        if set(distinct) == set(wanted) and own(distinct) != own(wanted):
            self.figures.disordered += 1
            self.figures.complaints.append(f"{where}: the order differs from the log")

    def _compare_appended(self) -> None:
        """Check that references and forwarded records are in the log, and that notes match the existing records."""
        for partition, log in enumerate(self.broker.topics[_LOG]):
            there = {(r.key, r.value, r.headers) for r in log}
            self._compare_sets(
                f"{_LOG} {partition}",
                there,
                set(self.wanted.get((_LOG, partition), [])),
                foreign=False,
            )
        notes = {(r.key, r.value) for r in self.broker.topics[_NOTES][0]}
        possible: set[Any] = set()
        for topic in TALLY.sources:
            for partition, log in enumerate(self.broker.topics[topic]):
                each = {(o.key, o.value) for r in log for o in note_records(topic, partition, [r], SentNotes())}
                possible |= each
                if topic != _SNAPSHOTS and not each <= notes:
                    self.figures.lost += len(each - notes)
                    self.figures.complaints.append(f"{topic} {partition}: notes are missing")
        if not notes <= possible:
            self.figures.doubled += len(notes - possible)
            self.figures.complaints.append("a note about a record that is not on any topic")

    def _compare_sets(self, where: str, there: set[Any], wanted: set[Any], *, foreign: bool = True) -> None:
        if lost := wanted - there:
            self.figures.lost += len(lost)
            self.figures.complaints.append(f"{where}: {len(lost)} missing, such as {min(lost, key=repr)}")
        if foreign and (more := there - wanted):
            self.figures.doubled += len(more)
            self.figures.complaints.append(f"{where}: {len(more)} unexpected, such as {min(more, key=repr)}")

    def _compare_last(self) -> None:
        """Check that the last record of each key of a compacted topic is the newest one."""
        for topic in _COMPACTED:
            for partition, log in enumerate(self.broker.topics[topic]):
                last = {record.key: record.value for record in log}
                newest = dict(self.wanted.get((topic, partition), []))
                if stale := sum(last.get(key) != value for key, value in newest.items()):
                    self._stale(stale, f"{topic} {partition}: keys whose last record is old: {stale}")

    def _compare_shown(self, folds: list[Folded]) -> None:
        """Check that the last snapshot of each task shows the last record that changed its row."""
        for folded in folds:
            shown = {
                o.key: _message(_SNAPSHOTS, o.value, o.key).as_of.offset
                for o in folded.outputs
                if o.topic == _SNAPSHOTS
            }
            if late := {key for key, data in folded.rows.items() if shown.get(key) != row_position(data)[1]}:
                self._stale(len(late), f"{_SNAPSHOTS}: rows changed after their last snapshot: {sorted(late)}")

    def _count_sent(self, rows: dict[bytes, bytes]) -> None:
        """Count without the engine: one outcome for each id sent, one result for each command."""
        for key, outcomes in self.traffic.outcomes.items():
            home = partition_of(key, self.broker.partitions)
            data = Table(None, Kind.MONITOR, home, self.broker).rows(home).get(key)
            counted = 0
            if data is not None:
                row = decode_row(data)
                counted = row.n + sum(variant.shadow.n for variant in row.variants.values())
            self.figures.outcomes += len(outcomes)
            self.figures.lost += max(0, len(outcomes) - counted)
            self.figures.doubled += max(0, counted - len(outcomes))
            if counted != len(outcomes):
                self.figures.complaints.append(f"{key.decode()}: {len(outcomes)} outcomes sent, {counted} counted")
        assert rows.keys() >= {key for key, outcomes in self.traffic.outcomes.items() if outcomes}
        distinct = {(r.key, r.value) for log in self.broker.topics[DECISIONS] for r in log}
        results = [_message(DECISIONS, value, key) for key, value in distinct]
        answers = Counter(r.command_id for r in results if isinstance(r, CommandResult) and r.agent_name is not None)
        self.figures.commands += len(self.traffic.commands)
        for command_id in self.traffic.commands:
            self.figures.lost += answers[command_id] == 0
            self.figures.doubled += answers[command_id] > 1
            if answers[command_id] != 1:
                self.figures.complaints.append(f"command {command_id} has {answers[command_id]} results instead of 1")

    # -- small things ------------------------------------------------------------------------------
    def _want(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            identity = (
                (output.key, output.value, output.headers) if output.topic == _LOG else _identity(output, output.topic)
            )
            self.wanted.setdefault((output.topic, output.partition), []).append(identity)

    def _stale(self, keys: int, complaint: str) -> None:
        self.figures.stale_last += keys
        self.figures.complaints.append(complaint)

    def _wrong(self, rows: int, complaint: str) -> None:
        self.figures.wrong_rows += rows
        self.figures.complaints.append(complaint)


def _identity(record: Any, topic: str) -> Any:
    if topic == DEAD_LETTERS:
        letter = read_letter(record.headers)
        return record.key, record.value, letter.reason, letter.topic, letter.partition, letter.offset
    return record.key, record.value


def _message(topic: str, value: bytes | None, key: bytes | None) -> Any:
    decoded: Any = decode(topic, value, key)
    return decoded.message
