"""The naive model of a task whose outcomes have costs, judges and runtimes, and whose operators send commands.

It adds guardrails (ADR 64), judges (ADR 65), adoption (ADR 66) and all alerts to the model of the guide.  It shares no
code with the engine.  ``told`` has what a message leads to, as plain tuples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from .reference_adoption import Crowd
from .reference_guardrails import Level, Meter, Rail, Worse, level_of
from .reference_judges import Scale
from .reference_model import (
    METRICS,
    MIN_BASELINE,
    MIN_RECENT,
    SIZED,
    WINDOW,
    Estimate,
    Member,
    Model,
    Outcome,
    Rollout,
    computed_reward,
    exact,
    to_millionths,
)

AGAIN, SILENT, FEWEST = 50, 1_800_000, 5
"""Outcomes until an alert is repeated; silence after which a runtime contradicts nobody; visits a target needs."""


@dataclass
class Limits:
    """The settings that differ between stories."""

    rails: tuple[Rail, ...] = ()
    budget: int = 5_000
    """Outcomes for each false alarm that is accepted."""
    memory: int = 200
    head_start: Fraction = Fraction(0)
    room: int = 64
    """How many runtimes are remembered."""
    one_runtime: bool = True
    """Whether one runtime's word is not enough."""
    undo_hold: int = 100

    @property
    def threshold(self) -> float:
        return 1.25 * self.budget


@dataclass
class Watched:
    """What the model knows about a member beyond the guide."""

    meters: dict[tuple[str, int], Meter] = field(default_factory=dict)
    """By metric and direction."""
    alerted: bool = False
    decided: set[tuple[int, str]] = field(default_factory=set)


class FleetModel(Model):
    """A task with guardrails, judges and runtimes."""

    def __init__(self, limits: Limits, shares: Iterable[float] = (), needed: int = 20) -> None:
        super().__init__(shares, needed)
        self.limits = limits
        self.told: list[tuple[Any, ...]] = []
        self.now = 0
        self.scale, self.crowd = Scale(), Crowd(limits.room)
        self.watched: dict[str, Watched] = {}
        self.cause, self.previous = "", None
        self.held: list[int | bool] | None = None
        """Whether the hold has a time, and at which outcome of the task it may end."""
        self.held_at: int | None = None
        self.braked: int | None = None
        """Since when the promotions of the whole fleet are stopped."""
        self.shown_brake: int | None = None
        """The same as far as the task has noticed it, with its next message."""
        self.no_target_at: int | None = None
        self.blamed_at: int | None = None
        """At which outcome of the task the alert of this kind was last sent, while it is open."""
        self.certain = False
        self.sent: dict[str, tuple[Member, Outcome, Any, Fraction | None, bool]] = {}
        """Each outcome by its id, with its member, its message, its quality, and whether its reward was given."""

    # -- outcomes ----------------------------------------------------------------------------------
    def take(self, invocation: Any) -> None:
        self._begin()
        self.came += 1
        if invocation.invocation_id in self.ids[-64:]:
            self.duplicates += 1
            return
        self.ids.append(invocation.invocation_id)
        member = self.members.setdefault(invocation.variant_id, Member(invocation.variant_id))
        self.watched.setdefault(member.name, Watched())
        source, epoch = invocation.variant_source, invocation.active_epoch
        outcome = self._scored(invocation, member)
        if self.active is None and source not in ("explore", "session"):
            self._activate(member, cause="first_seen")
        outcome.judged = epoch is None or epoch >= member.epoch
        measured = self._measure(member, invocation) if outcome.judged else []
        member.history.append(outcome)
        member.q += max(0.1, 1 / member.n) * (float(outcome.reward) - member.q)
        self.n += 1
        if outcome.judged and source in SIZED:
            self._stage(member, outcome)
        if outcome.runtime is not None and source != "explore":
            self.told += self.crowd.hear(outcome.runtime, epoch, self.now, invocation.duration_seconds)
        self._report(member, outcome)
        if self.held is not None and not self.held[0] and self.n >= self.held[1]:
            self._end_held()
            self.held = None
        if outcome.judged:
            self._step(member, measured)
        else:
            self._decide(member)

    def _scored(self, invocation: Any, member: Member) -> Outcome:
        quality, reward = (None if score is None else exact(score) for score in (invocation.quality, invocation.reward))
        quality, reward = self.scale.put(invocation.evaluator, quality, reward)
        given = reward is not None
        reward = computed_reward(invocation, quality) if reward is None else to_millionths(reward)
        error = invocation.status == "error" or invocation.error_count > 0
        outcome = Outcome(reward, invocation.status == "success", error, False, invocation.runtime_id, self.came)
        self.sent[invocation.invocation_id] = member, outcome, invocation, quality, given
        return outcome

    def _report(self, member: Member, outcome: Outcome) -> None:
        """Note what the runtimes that the task knows report about the active variant in this epoch."""
        if self.limits.one_runtime and outcome.runtime in self.crowd.hosts:
            reported = self.reports.setdefault(outcome.runtime, [])
            if outcome.judged and member.name == self.active:
                reported.append(outcome)

    def late(self, feedback: Any) -> None:
        """Take a score for an outcome that is still in its window.

        If the outcome has left it, the score is too late and changes nothing; if its id is forgotten too, the score
        waits for an outcome with this id, and changes the scale of its judge.
        """
        self._begin()
        member, outcome, invocation, known, given = self.sent[feedback.invocation_id]
        is_there = any(outcome is other for other in member.window)
        if not is_there and feedback.invocation_id in self.ids[-64:]:
            return
        quality, reward = (None if score is None else exact(score) for score in (feedback.quality, feedback.reward))
        quality, reward = self.scale.put(feedback.evaluator, quality, reward)
        if not is_there:
            return
        quality, given = known if quality is None else quality, given or reward is not None
        if reward is not None:
            outcome.reward = to_millionths(reward)
        elif not given:
            outcome.reward = computed_reward(invocation, quality)
        self.sent[feedback.invocation_id] = member, outcome, invocation, quality, given
        member.q = 0.0
        for n, each in enumerate(member.history, start=1):
            member.q += max(0.1, 1 / n) * (float(each.reward) - member.q)
        self._step(member, [], late=True)

    # -- one step ----------------------------------------------------------------------------------
    def _step(self, member: Member, measured: list[Rail], *, late: bool = False) -> None:
        """Verify, protect, keep the guardrails, decide, promote: each only if nothing before changed the variant."""
        is_active = member.name == self.active
        changed = is_active and self._took_back(member)
        blamed = False
        if not changed:
            changed, blamed = self._protect(member, late=late)
        changed = changed or self._keep(member, measured)
        self._decide(member)
        if changed or self.held is not None or self.braked is not None:
            return
        if self.rollout is not None:
            self._go_on(self.rollout)
        elif is_active and not blamed and (best := self._candidate(member)) is not None:
            if self.shares:
                self.start(best.name, shares=self.shares, needed=self.needed, automatic=True)
            else:
                self.promotions.append(best.name)
                self._activate(best, cause="auto_apply")

    def _took_back(self, target: Member) -> bool:
        if self.held is None:
            left = self.left
            if not super()._took_back(target):
                return False
            assert left is not None
            self._alert("rollback_taken_back", "critical", target.name)
            return True
        if sum(o.judged for o in target.window) == WINDOW:
            self.left = None
        return False

    def _protect(self, member: Member, *, late: bool) -> tuple[bool, bool]:
        """Return whether the member was rolled back, and whether only one runtime finds it degraded."""
        kind, metric = member.verdict()
        if kind == "HEALTHY" and member.degraded and not late:
            self._note(member, kind)
            if not member.degraded:
                self._recovered(member)
        if kind != "DEGRADED":
            return False, False
        started, tries, target = not member.degraded, member.name == self.active, None
        self._note(member, kind)
        if started:
            self.told.append(("degradation", member.name, "degraded", metric, tries))
        blamed = tries and self._is_one_runtimes_word(member)
        if blamed:
            self.blamed += 1
            if self._is_time(self.blamed_at):
                self.blamed_at = self.n
                self._alert("one_runtime", "critical", member.name)
        elif tries and self.held is not None:
            if self._is_time(self.held_at):
                self.held_at = self.n
                self._alert("held_degradation", "critical", member.name)
        elif tries:
            target = self._target()
            if target is not None:
                self._roll_back(member, target, metric)
            elif self._is_time(self.no_target_at):
                self.no_target_at = self.n
                self._alert("no_target", "critical", member.name)
        if self._is_candidate(member) and self.held is None and self.rollout and self._is_worse(self.rollout):
            self._abort(self.rollout)
            return False, False
        if tries and not blamed and target is None and self.blamed_at is not None:
            self._resolve("one_runtime", member.name)
            self.blamed_at = None
        if started and target is None:
            self.watched[member.name].alerted = True
            is_critical = tries or self._is_candidate(member)
            self._alert("degradation", "critical" if is_critical else "warning", member.name)
        return target is not None, blamed

    def _is_time(self, last: int | None) -> bool:
        return last is None or self.n - last >= AGAIN

    def _is_candidate(self, member: Member) -> bool:
        return self.rollout is not None and self.rollout.candidate is member

    def _recovered(self, member: Member) -> None:
        self.told.append(("degradation", member.name, "recovered", None, member.name == self.active))
        self._end_alert(member)
        if member.name == self.active:
            self._end_no_target()
            if self.blamed_at is not None:
                self._resolve("one_runtime", member.name)
            self._end_held()
            self.no_target_at = self.blamed_at = None

    def _roll_back(self, member: Member, target: Member, metric: str | None, worse: Worse | None = None) -> None:
        left = self._delivered(member)
        member.quarantined, target.quarantined = True, False
        self.rollbacks.append((member.name, target.name))
        self.told.append(("rollback", member.name, target.name, *_figures(metric, worse)))
        self._alert("rollback", "critical", member.name)
        self._activate(target, cause="rollback")
        self.left = member, left

    def _decide(self, member: Member) -> None:
        """Tell the matrix's decision about a member, once in each epoch."""
        level = member.decision(active=member.name == self.active)
        decided = self.watched[member.name].decided
        if (self.epoch, level) not in decided:
            decided.add((self.epoch, level))
            self.told.append(("decision", member.name, level, self.epoch))

    # -- guardrails --------------------------------------------------------------------------------
    def _measure(self, member: Member, invocation: Any) -> list[Rail]:
        """Add the outcome's values; return the rails about which an alert is open, or to be opened."""
        watched, found = self.watched[member.name], []
        rails = [rail for rail in self.limits.rails if rail.action != "off"]
        for key in [key for key in watched.meters if key not in {rail.key for rail in rails}]:
            if watched.meters.pop(key).is_open:
                self._resolve("guardrail", f"{member.name} {key[0]}")
        for rail in rails:
            value = rail.value(invocation)
            if value is None:
                continue
            meter = watched.meters.setdefault(rail.key, Meter(self.limits.memory))
            meter.take(value, rail, WINDOW)
            if meter.is_open or meter.is_proven(self.limits.threshold):
                found.append(rail)
            self.ambiguous |= meter.ambiguous
        return found

    def _keep(self, member: Member, measured: Sequence[Rail]) -> bool:
        """Alert, end alerts, or roll back; return whether another variant is active now."""
        if member.name != self.active and not self._is_candidate(member):
            return False
        told: list[tuple[Rail, Meter, Worse | None]] = []
        for rail in measured:
            meter = self.watched[member.name].meters[rail.key]
            worse = meter.worse(rail, MIN_RECENT)
            proven = meter.is_proven(self.limits.threshold)
            self.ambiguous |= meter.ambiguous
            if worse is not None and proven and rail.action == "rollback" and self.held is None:
                if self._is_candidate(member):
                    self._lead(member, rail, worse)
                    self._abort(self.rollout, rail.name, worse)  # type: ignore[arg-type]
                    return False
                if (target := self._way_out(member, rail, worse)) is not None:
                    self._lead(member, rail, worse)
                    self._roll_back(member, target, rail.name, worse)
                    return True
            told.append((rail, meter, worse))
        for rail, meter, worse in told:
            about = f"{member.name} {rail.name}"
            if meter.is_open and worse is None and meter.since >= WINDOW:
                meter.calm()
                self._resolve("guardrail", about)
            elif not meter.is_open and worse is not None:
                meter.alarm()
                self.told.append(("alert", "guardrail", "warning", about, False, worse.relative, float(rail.limit)))
        return False

    def _lead(self, member: Member, rail: Rail, worse: Worse) -> None:
        """Tell the degradation that leads to a rollback."""
        self.told.append(("degradation", member.name, "degraded", rail.name, member.name == self.active))

    def _way_out(self, member: Member, rail: Rail, worse: Worse) -> Member | None:
        """Return the best other variant that is cheaper by the limit, also lately, and not worse in quality."""
        left, window = self._delivered(member), [o for o in member.window if o.judged]
        found = []
        for m in self.members.values():
            meter = self.watched[m.name].meters.get(rail.key)
            if m is member or m.n < FEWEST or meter is None or not self._is_cheaper(meter, rail, worse):
                continue
            lately = [o for o in m.window if o.judged]
            known = [m.lifetime, *([lately] if len(lately) >= MIN_RECENT else [])]
            promises = [[Estimate.of(some, metric) for metric in METRICS] for some in known]
            if m.verdict()[0] == "DEGRADED" or any(self._is_better(left, each, exact(0.5)) for each in promises):
                continue
            if not any(o.success for o in window) and not any(o.success for o in m.telling):
                continue
            if self._may_skip(m, member):
                found.append(m)
        return min(found, key=lambda m: (m.quarantined, m.rank), default=None)

    def _is_cheaper(self, meter: Meter, rail: Rail, worse: Worse) -> bool:
        whole = meter.all()
        if whole is None or whole.n < FEWEST:
            return False
        lately = level_of(meter.window) if len(meter.window) >= MIN_RECENT else None
        means = [level.mean for level in (whole, lately) if level is not None]
        gaps = [worse.now.mean - mean - max(rail.limit * abs(mean), rail.floor) for mean in means]
        self.ambiguous |= any(abs(gap) < 1e-9 * max(1, abs(worse.now.mean)) for gap in gaps)
        return min(gaps) > 0

    def _restart_meters(self, to: Member, replaced: Member | None) -> None:
        """Judge the metrics of ``to`` from scratch, against those of a variant that it was chosen to replace."""
        levels: dict[tuple[str, int], Level] = {}
        if replaced is not None:
            watched = {rail.key for rail in self.limits.rails if rail.action != "off"}
            all_levels = {key: meter.left_behind() for key, meter in self.watched[replaced.name].meters.items()}
            levels = {key: level for key, level in all_levels.items() if level is not None and key in watched}
        meters = self.watched[to.name].meters
        for name, worse in levels:
            meters.pop((name, -worse), None)
            meters.setdefault((name, worse), Meter(self.limits.memory))
        start = float(self.limits.head_start) * self.limits.threshold
        for key, meter in meters.items():
            meter.begin(levels.get(key), start if key in levels else 0.0)

    def _end_guardrails(self, member: Member) -> None:
        for (name, _), meter in self.watched[member.name].meters.items():
            if meter.is_open:
                self._resolve("guardrail", f"{member.name} {name}")

    # -- changes of the active variant -------------------------------------------------------------
    def _activate(self, to: Member, step: str = "", cause: str = "") -> None:
        cause = "rollout" if step == "completed" else cause or "rollback_verified_worse"
        old = None if self.active is None else self.members[self.active]
        candidate = None if self.rollout is None else self.rollout.candidate
        self.told.append(("activation", self.active, to.name, cause, self.epoch + 1))
        self._end_no_target()
        self._end_held()
        if self.blamed_at is not None and old is not None:
            self._resolve("one_runtime", old.name)
        for member in {id(m): m for m in (old, to, candidate) if m is not None}.values():
            self._end_guardrails(member)
        self._end_alert(to)
        self.previous, self.cause = self.active, cause
        super()._activate(to, step)
        if candidate is not None:
            self._close_meters(candidate)
        is_chosen = cause in ("first_seen", "command", "auto_apply", "rollout")
        self._restart_meters(to, old if is_chosen else None)
        if old is not None:
            self._close_meters(old)
        self.no_target_at = self.blamed_at = None
        self.told += self.crowd.change(self.epoch, self.now, cause, to.name)

    def _close_meters(self, member: Member) -> None:
        for meter in self.watched[member.name].meters.values():
            meter.is_open = False

    def start(self, name: str, *, shares: Iterable[float], needed: int, automatic: bool = False) -> bool:
        if not automatic:
            self._begin()
        if not super().start(name, shares=shares, needed=needed, automatic=automatic):
            return False
        member = self.members[name]
        member.clean = 0
        self._end_alert(member)
        self._end_guardrails(member)
        self._restart_meters(member, self.members[self.active or ""])
        return True

    def _abort(self, rollout: Rollout, metric: str | None = None, worse: Worse | None = None) -> None:
        candidate = rollout.candidate
        candidate.quarantined = True
        self.told.append(("rollback", candidate.name, self.active, *_figures(metric, worse)))
        self._alert("rollout_aborted", "critical", candidate.name)
        self._end(rollout)

    def _end(self, rollout: Rollout) -> None:
        candidate = rollout.candidate
        self._end_alert(candidate)
        self._end_guardrails(candidate)
        super()._end(rollout)
        self.cause = "rollout_aborted"
        self._close_meters(candidate)
        self._restart_meters(candidate, None)
        self.told += self.crowd.change(self.epoch, self.now, self.cause, self.active or "")

    # -- commands ----------------------------------------------------------------------------------
    def order_activate(self, name: str) -> bool:
        self._begin()
        member = self.members.get(name)
        if member is None or name == self.active or member.quarantined:
            return False
        self._activate(member, cause="command")
        return True

    def order_lift(self, name: str) -> bool:
        self._begin()
        member = self.members.get(name)
        if member is None or not member.quarantined:
            return False
        member.quarantined = False
        return True

    def order_hold(self) -> bool:
        self._begin()
        self._end_held()
        self.held = [True, 0]
        return True

    def order_resume(self) -> bool:
        self._begin()
        was, self.held = self.held, None
        if was is not None:
            self._end_held()
        return was is not None

    def order_abort(self) -> bool:
        self._begin()
        if self.rollout is None:
            return False
        candidate = self.rollout.candidate
        candidate.declined, candidate.degraded, candidate.clean = candidate.n, False, 0
        for outcome in candidate.history:
            outcome.judged = False
        self._end(self.rollout)
        return True

    def order_undo(self) -> bool:
        """Return to the variant before the latest change; nothing else changes for a while."""
        self._begin()
        if self.previous is None or self.cause in ("undo", "rollout_aborted"):
            return False
        back = self.members[self.previous]
        back.quarantined = False
        self._activate(back, cause="undo")
        if self.limits.undo_hold:
            until = self.n + self.limits.undo_hold
            if self.held is None:
                self.held = [False, until]
            else:
                self.held[1] = until
        return True

    def order_accept(self, name: str | None) -> bool:
        """Accept what a degraded variant delivers, or what a variant costs while an alert about it is open."""
        self._begin()
        member = self.members.get(name or self.active or "")
        if member is None or self._is_candidate(member):
            return False
        broken = [meter for meter in self.watched[member.name].meters.values() if meter.is_open]
        if not member.degraded and not broken:
            return False
        if member.degraded:
            judged = [o for o in member.window if o.judged]
            if len(judged) < MIN_BASELINE or not any(o.success for o in judged):
                return False
            self._accept_level(member, judged)
        self._end_guardrails(member)
        for meter in broken:
            meter.accept()
        return True

    def _accept_level(self, member: Member, judged: list[Outcome]) -> None:
        self._end_alert(member)
        if member.name == self.active:
            self._end_no_target()
            if self.blamed_at is not None:
                self._resolve("one_runtime", member.name)
            self._end_held()
            self.no_target_at = self.blamed_at = self.left = None
            self.reports = {name: [] for name in self.reports}
        member.level = [Outcome(o.reward, o.success, o.error, True, o.runtime, o.at) for o in judged]
        member.frozen, member.accepted = member.level, member.n
        member.degraded, member.clean, member.degraded_at = False, 0, None
        for outcome in member.history:
            outcome.judged = False

    # -- what the guide's model leaves out ---------------------------------------------------------
    def _target(self) -> Member | None:
        """After fifty outcomes without a target, a full window without a success is no longer chance."""
        self.certain = self.no_target_at is not None and self._is_time(self.no_target_at)
        try:
            return super()._target()
        finally:
            self.certain = False

    def _delivered(self, degraded: Member, *, without_worst: bool = False) -> list[Estimate]:
        if not self.certain or not degraded.is_hopeless:
            return super()._delivered(degraded, without_worst=without_worst)
        judged = [o for o in degraded.window if o.judged]
        if without_worst:
            judged.remove(min(judged, key=lambda o: (o.success, not o.error, o.reward)))
        return [Estimate.of(judged, metric) for metric in METRICS]

    def _is_one_runtimes_word(self, member: Member) -> bool:
        return self.limits.one_runtime and self._with_those_at_work(
            lambda: super(FleetModel, self)._is_one_runtimes_word(member)
        )

    def _candidate(self, active: Member) -> Member | None:
        return self._with_those_at_work(lambda: super(FleetModel, self)._candidate(active))

    def _with_those_at_work(self, asked: Any) -> Any:
        """Ask while only the runtimes that have sent something lately count."""
        known, hosts = self.reports, self.crowd.hosts
        self.reports = {n: o for n, o in known.items() if n in hosts and self.now - hosts[n].heard <= SILENT}
        try:
            return asked()
        finally:
            self.reports = known

    # -- alerts ------------------------------------------------------------------------------------
    def _alert(self, kind: str, severity: str, about: str) -> None:
        self.told.append(("alert", kind, severity, about, False))

    def _resolve(self, kind: str, about: str) -> None:
        self.told.append(("alert", kind, "info", about, True))

    def _end_alert(self, member: Member) -> None:
        if self.watched[member.name].alerted:
            self._resolve("degradation", member.name)
            self.watched[member.name].alerted = False

    def _begin(self) -> None:
        """Begin a message: the task notices whether the promotions of the fleet are stopped."""
        self.told = []
        if self.braked != self.shown_brake:
            self._end_held()
        self.shown_brake = self.braked

    def _end_held(self) -> None:
        if self.held_at is not None:
            self._resolve("held_degradation", self.active or "")
        self.held_at = None

    def _end_no_target(self) -> None:
        if self.no_target_at is not None:
            self._resolve("no_target", self.active or "")


def _figures(metric: str | None, worse: Worse | None) -> tuple[Any, ...]:
    """Return the metric of a rollback for a guardrail, both means, the change, the outcomes, and the baseline."""
    if worse is None:
        return (None,)
    source = "replaced_variant" if worse.replaced else "recent"
    return metric, float(worse.before.mean), float(worse.now.mean), worse.relative, float(worse.now.n), source
