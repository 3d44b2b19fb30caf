"""What a drill does as an operator: it sends commands about its task, and records its result there."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from crl_stream.cli.clock import now_ms
from crl_stream.cli.drill.explanation import Missing, Occupied
from crl_stream.cli.drill.report import Report
from crl_stream.core import messages as m
from crl_stream.core.drills import Drill, DrillResult, record_of
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import to_text
from crl_stream.errors import CommandRefused, Unavailable
from crl_stream.kafka.commands import give, task_command
from crl_stream.kafka.session import KafkaSession

RESULT_HOURS: Final = 8_760.0
"""How long a result stays on record."""
_RESULT_VALID_MS: Final = 30 * 86_400_000
"""A result that no worker reads within this time is dropped."""
_GRACE_SECONDS: Final = 30.0
"""How much longer than its timeout a drill may hold its task."""
_BEGINS: Final = "to begin a drill"


class OperatorPart:
    """An operator of one drill task; ``seconds`` is how long the monitor may take to answer."""

    def __init__(self, kafka: KafkaSession, key: TaskKey, actor: str, seconds: float) -> None:
        self.kafka, self.key, self.actor, self.seconds = kafka, key, actor, seconds

    async def lift(self, variant_id: str, epoch: int) -> None:
        """Lift a quarantine that an earlier drill has caused."""
        try:
            await self._order(m.LiftQuarantine, variant_id=variant_id, expected_epoch=epoch, reason=_BEGINS)
        except Missing as missing:
            if "is not quarantined" not in missing.message:  # another drill has just lifted it
                raise

    async def activate(self, variant_id: str, epoch: int) -> None:
        """Activate a variant; this begins the next epoch."""
        await self._order(m.ActivateVariant, variant_id=variant_id, expected_epoch=epoch, reason=_BEGINS)

    async def pin(self, began: int, variant_id: str | None = None, epoch: int | None = None) -> m.CommandResult:
        """Pin a variant, or the active one, for as long as the drill may take; this also records the running drill.

        The result says what prevents rollbacks.  ``began`` is in milliseconds since the epoch.
        """
        hours = (self.seconds + _GRACE_SECONDS) / 3_600.0
        reason = self._record_of("running", began, "in progress")
        return await self._order(m.PinVariant, variant_id=variant_id, expected_epoch=epoch, hours=hours, reason=reason)

    async def record(self, report: Report, seconds: float) -> None:
        """Record the result on the task, where `crl status` finds it, and wait ``seconds`` for the monitor's answer.

        Without a worker, the record waits on crl.commands for the next one.
        """
        assert report.result != "busy"
        detail = report.detail if report.missing is None else f"{report.missing}: {report.detail}"
        command = task_command(
            m.PinVariant,
            self.key,
            actor=self.actor,
            hours=RESULT_HOURS,
            reason=self._record_of(report.result, report.began, detail),
        )
        command = msgspec.structs.replace(command, expires_at=to_text(now_ms() + _RESULT_VALID_MS))
        try:
            await give(self.kafka, command, seconds)
        except (CommandRefused, Unavailable):
            return  # for example, the task is not known yet; the drill still prints its report
        report.recorded = True

    async def _order(self, kind: type[Any], **fields: Any) -> m.CommandResult:
        command = task_command(kind, self.key, actor=self.actor, **fields)
        try:
            return await give(self.kafka, command, self.seconds)
        except CommandRefused as refused:
            if command.expected_epoch is not None and "the epoch is" in refused.message:
                raise Occupied(
                    f"another drill or a person has just changed {self.key}: {refused.message.rstrip('.')}",
                    hint=f"wait a minute and try again; crl audit {self.key} shows who did it",
                ) from refused
            raise Missing("command", refused.message.rstrip("."), refused.hint) from refused

    def _record_of(self, result: DrillResult, began: int, detail: str) -> str:
        return record_of(Drill(result, began, self.actor, detail))
