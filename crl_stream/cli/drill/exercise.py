"""The drill of one partition, step by step: succeed, fail, and check that every part of the protection reacts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from crl_stream.cli.clock import now_ms
from crl_stream.cli.drill.explanation import WAITS, Missing, Occupied, blocked_hint
from crl_stream.cli.drill.part_operator import OperatorPart
from crl_stream.cli.drill.part_runtime import RuntimePart
from crl_stream.cli.drill.plan import PROVEN, Plan
from crl_stream.cli.drill.report import Report, Step
from crl_stream.cli.drill.witness import Followed, Sight, Witness
from crl_stream.client import Client
from crl_stream.core import messages as m
from crl_stream.core.drills import DRILL_AGENT, FAILING, STEADY, drill_of
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text, to_text
from crl_stream.errors import CrlError
from crl_stream.kafka.session import KafkaSession
from crl_stream.proposals.page import stands

_BEHIND_SECONDS: Final = 2.0
"""Maximum delay of the monitor's earlier records on other topics, in seconds after its answer to a command."""
_RECORD_SECONDS: Final = 10.0
_UNHEARD_SECONDS: Final = 1.0
"""How long a failed drill waits for its result to be recorded."""
_BARRED: Final = "no automatic rollback: "
"""Beginning of the monitor's sentence about what prevents a rollback."""

T = TypeVar("T")


class Setting(NamedTuple):
    """The connections, plan and options that the exercises of one drill share."""

    kafka: KafkaSession
    client: Client
    witness: Witness
    plan: Plan
    actor: str
    seconds: float
    tell: Callable[[Report, Step], None]


class Exercise:
    """One drill on one task; ``known`` is the task's active variant before the drill, None if it has none."""

    def __init__(self, setting: Setting, partition: int, key: TaskKey, known: m.ActiveVariant | None) -> None:
        self.setting, self.key, self.known = setting, key, known
        self.report = Report(partition=partition, task=key, began=now_ms())
        self._runtime = RuntimePart(setting.client, key)
        self._operator = OperatorPart(setting.kafka, key, setting.actor, setting.seconds)
        self._began = time.monotonic()
        self._awaited = WAITS["outcomes"]
        self._epoch = 0 if known is None else known.epoch
        self._blocked = ""
        """What prevents rollbacks, in the monitor's words; empty if nothing does."""

    async def run(self) -> Report:
        """Run all steps within the time of the drill, record the result, and return the report; never raises."""
        report, self._began = self.report, time.monotonic()
        report.began = now_ms()
        try:
            async with asyncio.timeout(self.setting.seconds):
                await self._run()
        except Occupied as occupied:
            report.result, report.detail, report.hint = "busy", occupied.message, occupied.hint or ""
            return report
        except TimeoutError:
            awaited = self._awaited
            self._miss(awaited.step, f"{awaited.what} within {self.setting.seconds:g} s", awaited.hint)
        except Missing as missing:
            self._miss(missing.step, missing.message, missing.hint)
        except CrlError as error:
            self._miss(self._awaited.step, error.message.rstrip("."), error.hint)
        except asyncio.CancelledError:
            self._miss(self._awaited.step, "it was interrupted", None)
            await asyncio.shield(self.record(_UNHEARD_SECONDS))
            raise
        await self.record(_RECORD_SECONDS if report.result != "failed" else _UNHEARD_SECONDS)
        return report

    def _miss(self, step: str, detail: str, hint: str | None) -> None:
        trouble = self._runtime.trouble if step in {"outcomes", "runtime"} else ""
        self.report.result, self.report.missing = "failed", step
        self.report.detail = f"{detail}; the client says: {trouble}" if trouble else detail
        self.report.hint = hint or WAITS[step].hint

    async def _run(self) -> None:
        self._refuse_a_second()
        await self._prepare()
        await self._take_over()
        await self._fail()
        degradation = await self._see("degradation", m.DegradationAlert, self._is_degradation)
        deciding = from_text(degradation.message.timestamp)
        self._tell("degradation", degradation.message.reason, degradation.appended - deciding)
        if self._blocked and self.setting.witness.find(self.key, m.RollbackEvent, self._is_rollback) is None:
            alert = await self._see("alert", m.Alert, lambda alert: self._is_about(alert, degradation.message))
            self._tell("alert", f"operators are told: {alert.message.action}", alert.appended - deciding)
            self.report.result, self.report.detail = "blocked", self._blocked
            self.report.hint = blocked_hint(self._blocked, str(self.key))
            return
        await self._follow(deciding)
        self.report.result = "passed"
        rolled, moved = self.report.latency("rollback") or 0, self.report.latency("runtime") or 0
        self.report.detail = f"rolled back {rolled:,} ms and runtime moved {moved:,} ms after the deciding outcome"

    # -- before the failure ------------------------------------------------------------------------
    def _refuse_a_second(self) -> None:
        known = self.known
        pin = None if known is None or known.pinned is None or not stands(known.pinned, now_ms()) else known.pinned
        if known is None or pin is None:
            return
        last = drill_of(known.variant_id, 0, pin.actor, pin.reason)
        if last is not None and last.result == "running":
            raise Occupied(
                f"a drill by {pin.actor} has been running on {self.key} since {to_text(last.time)[:19]}Z",
                hint=f"wait for it; it ends by {pin.until} at the latest",
            )

    async def _prepare(self) -> None:
        """Send good outcomes of both variants, so that the monitor knows them and may choose the steady one."""
        self._awaited = WAITS["outcomes"]
        count = self.setting.plan.steady
        epoch = None if self.known is None else self._epoch
        for _ in range(count):
            self._runtime.succeed(STEADY, epoch)
        if self.known is None or self.known.variant_id != FAILING:
            # After an unfinished drill, this outcome could cause the rollback that is still due.
            self._runtime.succeed(FAILING, epoch)
        await self._runtime.flush()
        self._tell("outcomes", f"Kafka has stored {count} good outcomes of {STEADY}")

    async def _take_over(self) -> None:
        """Activate the variant that will fail; the epoch makes sure that only one drill does so."""
        self._awaited = WAITS["command"]
        if self.known is None:
            found = await self.setting.witness.see(self.key, m.ActiveVariant, lambda active: active.epoch >= 1)
            active, quarantined = found.message.variant_id, list[str]()
            self._epoch = found.message.epoch
        else:
            active, quarantined = self.known.variant_id, self.known.quarantined
        for name in {STEADY, FAILING}.intersection(quarantined):
            await self._operator.lift(name, self._epoch)
        if active == FAILING:  # left by an unfinished drill; after a new activation, the monitor judges afresh
            await self._operator.activate(STEADY, self._epoch)
            self._epoch += 1
        result = await self._operator.pin(self.report.began, FAILING, self._epoch)
        self._epoch = result.epoch
        self._blocked = _barred(result)
        self._tell("command", f"the monitor has made {FAILING} active, epoch {self._epoch}")
        self._awaited = WAITS["runtime"]
        await self.setting.witness.see(self.key, Followed, lambda seen: seen.active.epoch >= self._epoch)
        self._awaited = WAITS["outcomes"]
        for _ in range(self.setting.plan.good):
            self._runtime.work(good=True)
        await self._runtime.flush()

    # -- the failure and what follows --------------------------------------------------------------
    async def _fail(self) -> None:
        """Let the active variant fail until the monitor has reacted, or has seen more than enough failures."""
        self._awaited = WAITS["degradation"]
        plan = self.setting.plan
        for number in range(1, plan.failures + 1):
            self._runtime.work(good=False)
            await self.setting.witness.news(self.key, plan.pause)
            if self._is_over():
                self._tell("failures", f"{FAILING} has failed {number} times in a row")
                await self._runtime.flush()
                return
        await self._runtime.flush()
        # The monitor answers this command only after it has folded every failure that came before.
        result = await self._operator.pin(self.report.began)
        self._blocked = self._blocked or _barred(result)
        until = time.monotonic() + _BEHIND_SECONDS
        while not self._is_over() and (left := until - time.monotonic()) > 0.0:
            await self.setting.witness.news(self.key, left)
        if not self._is_over():
            raise self._no_reaction(plan.failures)

    def _is_over(self) -> bool:
        find = self.setting.witness.find
        if find(self.key, m.RollbackEvent, self._is_rollback) is not None:
            return True
        return bool(self._blocked) and find(self.key, m.DegradationAlert, self._is_degradation) is not None

    def _no_reaction(self, failures: int) -> Missing:
        """Return why there is no rollback although the monitor has folded every failing outcome."""
        find, task = self.setting.witness.find, str(self.key)
        if find(self.key, m.DegradationAlert, self._is_degradation) is None:
            return Missing(
                "degradation",
                f"the monitor has judged {failures} failing outcomes in a row and found no degradation",
                f"crl window {task} shows the figures and limits",
            )
        untargeted = find(self.key, m.Alert, lambda alert: alert.kind == "no_target" and not alert.resolved)
        if untargeted is not None:
            return Missing(
                "rollback", untargeted.message.action, f"crl policy show prints [rollback]; crl window {task}"
            )
        return Missing("rollback", "the monitor found a degradation but did not roll back", f"see crl window {task}")

    async def _follow(self, deciding: int) -> None:
        """Check that the rollback arrives everywhere; ``deciding`` is when the deciding outcome was stored, in ms."""
        rolled = await self._see("rollback", m.RollbackEvent, self._is_rollback)
        event = rolled.message
        self._tell("rollback", f"rolled back to {event.to_variant}, epoch {event.epoch}", rolled.appended - deciding)
        alert = await self._see("alert", m.Alert, lambda alert: alert.cause_id == event.rollback_id)
        self._tell("alert", "operators have an alert on crl.alerts", alert.appended - deciding)
        active = await self._see("active", m.ActiveVariant, lambda active: active.epoch >= event.epoch)
        named = active.appended - deciding
        self._tell("active", f"crl.active-variants names {active.message.variant_id}", named)
        moved = await self._see("runtime", Followed, lambda seen: seen.active.epoch >= event.epoch)
        used = self._runtime.work(good=True)
        if used != event.to_variant:
            raise Missing("runtime", f"the runtime still uses {used}, not {event.to_variant}")
        # Clocks differ, so the client's delay is measured from the record that this process saw at the same time.
        self._tell("runtime", f"the runtime uses {used}", named + max(0, round((moved.at - active.at) * 1_000)))
        receipt = await self._see(
            "receipt",
            m.Receipt,
            lambda receipt: receipt.epoch >= event.epoch and receipt.runtime_id == DRILL_AGENT,
        )
        self._tell("receipt", f"receipt of runtime {DRILL_AGENT}", receipt.appended - deciding)
        self._awaited = WAITS["outcomes"]
        for _ in range(PROVEN):
            self._runtime.work(good=True)
        await self._runtime.flush()

    def _is_degradation(self, alert: m.DegradationAlert) -> bool:
        return (alert.variant_id, alert.state, alert.epoch) == (FAILING, "degraded", self._epoch)

    def _is_rollback(self, event: m.RollbackEvent) -> bool:
        return event.enforced and event.from_variant == FAILING and event.epoch == self._epoch + 1

    @staticmethod
    def _is_about(alert: m.Alert, degradation: m.DegradationAlert) -> bool:
        placed = alert.position is not None and alert.position.offset >= degradation.position.offset
        return placed and not alert.resolved

    # -- means -------------------------------------------------------------------------------------
    async def _see(self, step: str, kind: type[T], fits: Callable[[T], bool]) -> Sight[T]:
        self._awaited = WAITS[step]
        return await self.setting.witness.see(self.key, kind, fits)

    async def record(self, seconds: float) -> None:
        """Record the result on the task, and wait ``seconds`` for the monitor's answer."""
        await self._operator.record(self.report, seconds)

    def _tell(self, name: str, text: str, latency_ms: int | None = None) -> None:
        step = Step(name, text, round(time.monotonic() - self._began, 3), latency_ms)
        self.report.steps.append(step)
        self.setting.tell(self.report, step)


def _barred(result: m.CommandResult) -> str:
    return result.detail.partition(_BARRED)[2]
