"""A small world around one mirrored label: a monitor, a store, people, and a mirror that may be killed at any point."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from builders import AGENT, TASK

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import to_text
from crl_stream.core.mirroring.label import Seen, messages_of, published, step
from crl_stream.core.mirroring.wants import Wanted, wants

START = 1_763_562_600_000
KEY = TaskKey(AGENT, TASK)
VARIANTS = {"v1": "1", "v2": "2", "v3": "3"}
"""The version of each variant; version 9 is no variant."""
STRANGE = "9"


def an_active(variant_id: str, epoch: int, **fields: Any) -> m.ActiveVariant:
    given: dict[str, Any] = {
        "agent_name": AGENT,
        "task_type": TASK,
        "variant_id": variant_id,
        "epoch": epoch,
        "previous_variant": None,
        "quarantined": [],
        "pinned": None,
        "held": None,
        "exploration": 0.0,
        "mode": "enforce",
        "since": to_text(START),
        "cause": "rollback",
        "cause_id": f"rb-{epoch}",
        "incarnation": 0,
        "position": m.Position(0, epoch),
        "policy_hash": "0" * 16,
        "engine_version": "6",
    }
    return m.ActiveVariant(**(given | fields))


def a_catalogue(refs: dict[str, str | None], task: TaskKey = KEY, **states: Any) -> m.VariantCatalogue:
    return m.VariantCatalogue(
        agent_name=task.agent_name,
        task_type=task.task_type,
        timestamp=to_text(START),
        variants=[
            m.RegisteredVariant(variant_id=name, state=states.get(name, "registered"), quarantined=False, ref=ref)
            for name, ref in refs.items()
        ],
        incarnation=0,
        position=m.Position(0, 0),
    )


REFS: dict[str, str | None] = {name: f"prompts:/refund/{version}" for name, version in VARIANTS.items()}


def a_want(active: m.ActiveVariant, refs: dict[str, str | None] = REFS) -> Wanted:
    return wants("mlflow", "production", {KEY: active}, {KEY: a_catalogue(refs)})[KEY]


class World:
    """The truth of everything outside the mirror, what the mirror has written, and a mirror that works on it."""

    def __init__(self, label: str | None = "1") -> None:
        self.now = START
        self.active = an_active("v1", 1)
        self.label = label
        self.names: tuple[str, ...] = ()
        self.queue: list[m.ActivateVariant] = []
        self.answers: dict[str, m.CommandResult] = {}
        self.commands: dict[str, m.ActivateVariant] = {}
        self.alerts: dict[str, m.Alert] = {}
        self.receipts: dict[str, m.Receipt] = {}
        self.refusing = ""
        """Why the monitor refuses every command, if it does."""
        self.record: m.MirrorLabel | None = None
        self.late: list[str] = []
        """Moves that the mirror has given up and that still arrive in the store."""
        self.failing: str = ""
        """What happens to the next move: ``late`` or ``lost``."""
        self.moves = 0
        self.announced: str | None = None
        """The version of the last move that the mirror announced, before the present one."""
        self.touched = 0
        """Counts what people do in the store."""
        self.seen_active = self.active
        self.seen_answers: dict[str, m.CommandResult] = {}
        self._round: Iterator[None] | None = None

    # -- what happens outside ------------------------------------------------------------------------
    def person(self, version: str | None) -> None:
        """Move or remove the label as a person does."""
        if version != self.label:
            self.touched += 1
        self.label = version

    def rollback(self, variant_id: str) -> None:
        """Make another variant active, as the monitor does."""
        if variant_id != self.active.variant_id:
            self.active = an_active(variant_id, self.active.epoch + 1, since=to_text(self.now))

    def answer(self) -> None:
        """Let the monitor apply or refuse the next command."""
        if not self.queue:
            return
        command = self.queue.pop(0)
        if command.command_id in self.answers:
            return
        detail = self.refusing
        if command.expected_epoch != self.active.epoch:
            detail = f"the epoch is {self.active.epoch}, not {command.expected_epoch}"
        if not detail and command.variant_id == self.active.variant_id:
            detail = f"{command.variant_id} is already the active variant"
        if not detail:
            self.active = an_active(
                command.variant_id,
                self.active.epoch + 1,
                cause="command",
                cause_id=command.command_id,
                since=to_text(self.now),
            )
        self.answers[command.command_id] = m.CommandResult(
            result_id=f"res-{len(self.answers)}",
            timestamp=to_text(self.now),
            agent_name=AGENT,
            task_type=TASK,
            command_id=command.command_id,
            command="ActivateVariant",
            actor=command.actor,
            reason=command.reason,
            outcome="refused" if detail else "applied",
            detail=detail or "done",
            epoch=self.active.epoch,
            position=m.Position(0, 0),
            policy_hash="",
            engine_version="6",
        )

    def arrive(self) -> None:
        """Let a move that was given up arrive."""
        if self.late:
            self.label = self.late.pop(0)

    # -- the mirror ----------------------------------------------------------------------------------
    def follow(self) -> None:
        """Let the mirror see what is on the topics."""
        self.seen_active, self.seen_answers = self.active, dict(self.answers)

    def work(self) -> None:
        """Let the mirror take its next small step, after which it may be killed."""
        if self._round is None:
            self._round = self._work()
        if next(self._round, "end") == "end":
            self._round = None

    def kill(self) -> None:
        """Kill the mirror: only what it has written is left."""
        self._round = None

    def round(self, seconds: float = 0.0) -> None:
        """Let the mirror see everything and work until it waits for its next look."""
        self.now += round(seconds * 1_000)
        self.follow()
        self.kill()
        self.work()
        while self._round is not None:
            self.work()

    def _work(self) -> Iterator[None]:
        yield from self._publish()
        moved = False
        for _ in range(6):
            seen, touched = Seen(self.label, self.names), self.touched
            yield
            asked = None if self.record is None else self.record.asked
            answer = None if asked is None else self.seen_answers.get(asked.command_id)
            before = self.record
            record, move = step(before, a_want(self.seen_active), seen, self.now, answer)
            if record is not before:
                assert record is not None and (before is None or record.revision > before.revision)
                if before is not None and before.moving is not None:
                    self.announced = before.moving.version
                self.record = record
                yield
                yield from self._publish()
            if move is None:
                if record is before:
                    return
                continue
            if moved:
                return
            moved = True
            if touched == self.touched:
                self._check_overwriting()
            self.moves += 1
            failing, self.failing = self.failing, ""
            if failing == "late":
                self.late.append(move)
            elif not failing:
                self.label = move
            yield
            if failing:
                return

    def _check_overwriting(self) -> None:
        """The mirror writes only over what it has left or announced itself."""
        record = self.record
        assert record is not None
        own = {record.left, None if record.moving is None else record.moving.version, self.announced}
        assert self.label in own, (self.label, own)

    def _publish(self) -> Iterator[None]:
        record = self.record
        if record is None or not (messages := messages_of(record)):
            return
        places: dict[type, dict[str, Any]] = {m.Receipt: self.receipts, m.Alert: self.alerts}
        for message in messages:
            if isinstance(message, m.ActivateVariant):
                self.queue.append(message)
                known: dict[str, Any] = self.commands
                name = message.command_id
            else:
                known = places[type(message)]
                name = message.receipt_id if isinstance(message, m.Receipt) else message.alert_id
            assert known.setdefault(name, message) == message, "a repetition has the same bytes"
        yield
        self.record = published(record)

    # -- what is to be checked -------------------------------------------------------------------------
    @property
    def open_alerts(self) -> set[str]:
        """The causes of alerts that have not been resolved."""
        opened = {alert.cause_id for alert in self.alerts.values() if not alert.resolved}
        return opened - {alert.cause_id for alert in self.alerts.values() if alert.resolved}

    @property
    def activity(self) -> tuple[Any, ...]:
        """Everything that grows when the mirror does something."""
        counts = self.moves, len(self.alerts), len(self.commands), len(self.receipts)
        return (*counts, self.label, self.active.epoch, self.record)
