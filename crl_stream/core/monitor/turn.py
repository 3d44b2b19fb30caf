"""One step under way: the row, the place in the log, and the facts stated so far.

Everything that is published is built here, so that ids, times and positions come from one place.
"""

# over 300 lines because every fact is built here, each with all of its fields

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from crl_stream.core.instant import day, to_text
from crl_stream.core.messages import (
    Activation,
    Alert,
    Candidate,
    CommandResult,
    Decision,
    DegradationAlert,
    Position,
    Receipt,
    RollbackEvent,
)
from crl_stream.core.messages.facts import AlertKind, Severity
from crl_stream.core.messages.parts import ActivationCause, DecisionKind
from crl_stream.core.monitor.row import Frozen, StandingOrder, TaskRow, Variant
from crl_stream.core.monitor.targets import remember_rollback
from crl_stream.core.monitor.verdict import (
    Verdict,
    evidence_of,
    judged_of,
    metrics,
    rules_of,
    sentence,
)
from crl_stream.core.monitor.window import restart_judging
from crl_stream.core.policy import Policy
from crl_stream.core.version import ENGINE_VERSION


class Context(msgspec.Struct, gc=False):
    """Where in the log a message stands, and under which policy; a step keeps its values, never itself."""

    partition: int
    offset: int
    timestamp_ms: int
    """Append time, milliseconds since the epoch."""
    incarnation: int
    policy_hash: str
    fleet: StandingOrder | None = None
    """The hold of the whole fleet, while there is one."""
    brief: bool = False
    """Whether snapshots leave out what the proposer does not read: windows, and sentences for people."""


class Turn:
    """What one message does to one row."""

    __slots__ = ("active_changed", "at", "catalogue_changed", "facts", "policy", "row", "rules")

    def __init__(self, row: TaskRow, at: Context, policy: Policy) -> None:
        self.row, self.at, self.policy, self.rules = row, at, policy, rules_of(policy)
        self.facts: list[Any] = []
        self.active_changed = self.catalogue_changed = False

    # -- names and places --------------------------------------------------------------------------
    def identify(self, prefix: str, kind: str, detail: str = "") -> str:
        """The id of a fact: the day for people, then a hash of kind, task and log position."""
        row, at = self.row, self.at
        text = f"{kind} {row.agent_name}/{row.task_type} {at.incarnation} {at.partition} {at.offset} {detail}"
        return f"{prefix}-{day(row.time)}-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"

    def common(self) -> dict[str, Any]:
        """The fields of every fact."""
        row, at = self.row, self.at
        return {
            "timestamp": to_text(row.time),
            "agent_name": row.agent_name,
            "task_type": row.task_type,
            "position": Position(at.partition, at.offset),
            "policy_hash": at.policy_hash,
            "engine_version": ENGINE_VERSION,
        }

    @property
    def enforced(self) -> bool:
        """Whether what is decided is done."""
        return self.rules.mode == "enforce"

    @property
    def hold(self) -> StandingOrder | None:
        """What keeps everything automatic from the task: its own hold, else the fleet's."""
        return self.row.held if self.row.held is not None else self.at.fleet

    @property
    def undo_command(self) -> str:
        """What takes the latest change back."""
        row = self.row
        return f"crl undo {row.agent_name}/{row.task_type} --epoch {row.epoch}"

    # -- facts -------------------------------------------------------------------------------------
    def degradation(self, variant: Variant, verdict: Verdict, *, recovered: bool) -> None:
        """The variant's transition into the degraded state or out of it."""
        state = "recovered" if recovered else "degraded"
        alert_id = self.identify("deg", state, variant.variant_id)
        if not recovered:
            variant.alert_id = alert_id
        rules = self.rules
        self.facts.append(
            DegradationAlert(
                alert_id=alert_id,
                variant_id=variant.variant_id,
                state="recovered" if recovered else "degraded",
                active=variant.variant_id == self.row.active,
                metric=verdict.worst.name if verdict.worst else None,
                reason=sentence(variant, verdict, rules),
                degradation_metrics=metrics(variant, verdict),
                evidence=evidence_of(variant, verdict, rules),
                judged=judged_of(variant, verdict, rules),
                enforced=self.enforced,
                epoch=self.row.epoch,
                **self.common(),
            )
        )

    def rollback(
        self, variant: Variant, target: str, verdict: Verdict, ranked: list[Candidate], rollback_id: str, epoch: int
    ) -> RollbackEvent:
        """The guide's rollback event, with its evidence."""
        row, rules = self.row, self.rules
        event = RollbackEvent(
            rollback_id=rollback_id,
            from_variant=variant.variant_id,
            to_variant=target,
            reason=sentence(variant, verdict, rules),
            degradation_metrics=metrics(variant, verdict),
            epoch=epoch,
            enforced=self.enforced,
            cause_id=variant.alert_id,
            evidence=evidence_of(variant, verdict, rules),
            judged=judged_of(variant, verdict, rules),
            candidates=ranked,
            undo_command=f"crl undo {row.agent_name}/{row.task_type} --epoch {epoch}",
            **self.common(),
        )
        self.facts.append(event)
        return event

    def decision(self, variant: Variant, level: DecisionKind, words: str) -> str:
        """What the matrix says of a variant."""
        decision_id = self.identify("dec", level, variant.variant_id)
        self.facts.append(
            Decision(
                decision_id=decision_id,
                variant_id=variant.variant_id,
                decision=level,
                reasoning=words,
                q_value=variant.q,
                n_visits=variant.life.n,
                epoch=self.row.epoch,
                **self.common(),
            )
        )
        return decision_id

    def alert(
        self,
        kind: AlertKind,
        severity: Severity,
        action: str,
        *,
        about: str = "",
        number: float | None = None,
        limit: float | None = None,
        cause_id: str,
        undo: bool = False,
        resolved: bool = False,
    ) -> None:
        """Something for the operator: subject, action, number, limit, undo command in one line."""
        row = self.row
        subject = f"{row.agent_name}/{row.task_type} {about}".rstrip()
        undo_command = self.undo_command if undo else None
        text = f"{subject}: {action}" + (f"; undo: {undo_command}" if undo_command else "")
        self.facts.append(
            Alert(
                alert_id=self.identify("alert", kind, f"{about} {resolved}"),
                kind=kind,
                severity=severity,
                subject=subject,
                action=action,
                text=text,
                cause_id=cause_id,
                number=number,
                limit=limit,
                undo_command=undo_command,
                resolved=resolved,
                **self.common(),
            )
        )

    def close_alert(
        self, variant: Variant, why: str, *, number: float | None = None, limit: float | None = None
    ) -> None:
        """End the alert about a degraded variant, if one is open."""
        if variant.alerted:
            variant.alerted, about, cause = False, variant.variant_id, variant.alert_id
            self.alert(
                "degradation", "info", why, about=about, number=number, limit=limit, cause_id=cause, resolved=True
            )

    def command_result(self, command: Any, outcome: Any, detail: str) -> None:
        """What became of a command."""
        self.facts.append(
            CommandResult(
                result_id=self.identify("cmdr", type(command).__name__, command.command_id),
                command_id=command.command_id,
                command=type(command).__name__,
                actor=command.actor,
                reason=command.reason,
                outcome=outcome,
                detail=detail,
                epoch=self.row.epoch,
                **self.common(),
            )
        )

    def receipt(self, runtime_id: str, late: int) -> None:
        """A runtime uses the current epoch for the first time."""
        row, at = self.row, self.at
        self.facts.append(
            Receipt(
                receipt_id=self.identify("rcpt", "receipt", f"{runtime_id} {row.epoch}"),
                timestamp=to_text(row.time),
                agent_name=row.agent_name,
                task_type=row.task_type,
                runtime_id=runtime_id,
                variant_id=row.active or "",
                epoch=row.epoch,
                late_invocations=late,
                milliseconds=row.time - row.since,
                position=Position(at.partition, at.offset),
            )
        )

    # -- the one change ----------------------------------------------------------------------------
    def activate(self, to: Variant, cause: ActivationCause, cause_id: str, words: str, untested: bool = False) -> None:
        """Make ``to`` the active variant: epoch + 1, latch, judging and alerts start anew."""
        row = self.row
        old = row.variants.get(row.active) if row.active is not None else None
        self.state_activation(to, cause, cause_id, words, enforced=True, epoch=row.epoch + 1, untested=untested)
        if row.no_target_n >= 0:
            row.no_target_n = -1
            self.alert(
                "no_target",
                "info",
                f"over: {to.variant_id} is active now",
                about=row.active or "",
                cause_id=cause_id,
                resolved=True,
            )
        to.baseline = None
        if old is not None:
            old.left_at = old.life.n
            if to.life.n < self.rules.own_baseline:
                to.baseline = _frozen(old, self.rules.min_baseline)
        row.previous, row.active, row.epoch = row.active, to.variant_id, row.epoch + 1
        row.since, row.changed_n, row.cause, row.cause_id = row.time, row.n, cause, cause_id
        row.rollback_id = cause_id if cause == "rollback" else None
        if cause == "rollback" and row.previous is not None:
            remember_rollback(row, cause_id, row.previous)
        row.latch, row.held_n = False, -1
        restart_judging(to)
        self.close_alert(to, f"over: active again since epoch {row.epoch}, judged anew")
        to.epoch, to.degraded, to.clean = row.epoch, False, 0
        for runtime in row.runtimes.values():
            runtime.late = 0
        row.receipted, row.strangers = bytearray(), 0
        self.active_changed = True

    def state_activation(
        self,
        to: Variant,
        cause: ActivationCause,
        cause_id: str,
        words: str,
        *,
        enforced: bool,
        epoch: int,
        untested: bool = False,
    ) -> None:
        """The fact of a change, or in shadow mode of the change that would have been."""
        self.facts.append(
            Activation(
                activation_id=self.identify("act", cause, to.variant_id),
                from_variant=self.row.active,
                to_variant=to.variant_id,
                cause=cause,
                cause_id=cause_id,
                reasoning=words,
                enforced=enforced,
                epoch=epoch,
                untested=untested,
                **self.common(),
            )
        )


def _frozen(old: Variant, needed: int) -> Frozen | None:
    """The lifetime a newcomer is judged against: of the variant it replaces, or of whom that one was judged against.

    None when that lifetime is too short to judge by: the newcomer is then judged against its own as soon as
    it is long enough, instead of never.
    """
    known = Frozen(old.variant_id, old.life)
    if old.baseline is not None and old.life.n < old.baseline.sums.n:
        known = old.baseline
    return Frozen(known.variant_id, msgspec.structs.replace(known.sums)) if known.sums.n >= needed else None
