"""A naive model of the guide: it keeps whole histories in lists and recomputes everything from them, in fractions.

It shares no code with the engine.  Its numbers are those of the guide and the design's defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

WINDOW, MIN_BASELINE, MIN_RECENT, CLEAN = 20, 20, 10, 20
SECONDS = {"low": 60, "medium": 300, "high": 900, None: 300}


def exact(number: float) -> Fraction:
    """Return the exact decimal number that a person means by this float."""
    return Fraction(str(number))


def clamp(number: Fraction) -> Fraction:
    return max(Fraction(-1), min(Fraction(1), number))


def to_millionths(number: Fraction) -> Fraction:
    return Fraction(round(number * 1_000_000), 1_000_000)


FINEST = 2_000_000


def added(values: Iterable[Fraction], unit: int = FINEST) -> Fraction:
    """Add whole multiples of 1 / ``unit`` as integers, which is many times faster than adding fractions."""
    total = 0
    for each in values:
        times, rest = divmod(unit, each.denominator)
        assert not rest, f"{each} is no multiple of 1 / {unit}"
        total += each.numerator * times
    return Fraction(total, unit)


def reward(invocation: Any) -> Fraction:
    """Return the given reward; if there is none, the weighted mean of the parts present, minus .1 per error."""
    if invocation.reward is not None:
        return to_millionths(exact(invocation.reward))
    return computed_reward(invocation, None if invocation.quality is None else exact(invocation.quality))


def computed_reward(invocation: Any, quality: Fraction | None) -> Fraction:
    """Return the weighted mean of the parts present, with this quality, minus .1 per error."""
    parts = [(exact(0.4), Fraction(1 if invocation.status == "success" else -1))]
    if quality is not None:
        parts.append((exact(0.3), 2 * quality - 1))
    if invocation.duration_seconds is not None:
        share = exact(invocation.duration_seconds) / SECONDS[invocation.complexity]
        parts.append((exact(0.2), to_millionths(clamp(2 * (1 - share)))))
    mean = sum(weight * part for weight, part in parts) / sum(weight for weight, _ in parts)
    return to_millionths(clamp(mean - exact(0.1) * invocation.error_count))


@dataclass
class Outcome:
    reward: Fraction
    success: bool
    error: bool
    judged: bool
    runtime: str | None = None
    at: int = 0
    """The outcome's number among the messages of its task."""


@dataclass
class Shares:
    """The rates over some outcomes."""

    outcomes: list[Outcome]

    @property
    def n(self) -> int:
        return len(self.outcomes)

    @property
    def success_rate(self) -> Fraction:
        return Fraction(sum(o.success for o in self.outcomes), self.n)

    @property
    def error_rate(self) -> Fraction:
        return Fraction(sum(o.error for o in self.outcomes), self.n)

    @property
    def avg_reward(self) -> Fraction:
        return added(o.reward for o in self.outcomes) / self.n


def value(outcome: Outcome) -> Fraction:
    return (outcome.reward + 1) / 2


def success(outcome: Outcome) -> Fraction:
    return Fraction(outcome.success)


def flawless(outcome: Outcome) -> Fraction:
    return Fraction(not outcome.error)


SIZED = frozenset({None, "live", "explore"})
"""The variant sources of invocations whose variant the weights of a rollout determined."""
METRICS: list[Callable[[Outcome], Fraction]] = [value, success, flawless]
DOUBT, PAROLE = 10, 100
NEAR = Fraction(1, 100_000)
"""The engine may decide either way this close to a limit, because it rounds sums down to millionths."""


@dataclass
class Estimate:
    """The sum of a metric from 0 to 1 over some outcomes."""

    n: int
    total: Fraction

    @classmethod
    def of(
        cls, outcomes: list[Outcome], metric: Callable[[Outcome], Fraction], doubted: list[Outcome] | None = None
    ) -> Estimate:
        """Estimate from outcomes and, if given, ten more at the mean of ``doubted``."""
        n, total = len(outcomes), added(metric(o) for o in outcomes)
        if doubted:
            n, total = n + DOUBT, total + DOUBT * added(metric(o) for o in doubted) / len(doubted)
        return cls(n, total)

    def pulled(self, mean: Fraction) -> Fraction:
        """Return the mean after one more outcome whose value is ``mean``."""
        return (self.total + mean) / (self.n + 1)

    @property
    def variance(self) -> Fraction:
        """The largest possible variance of the mean, with half a good and half a bad outcome added."""
        mean = self.pulled(Fraction(1, 2))
        return mean * (1 - mean) / (self.n + 2)


@dataclass
class Member:
    """A variant with its whole history."""

    name: str
    history: list[Outcome] = field(default_factory=list)
    q: float = 0.0
    frozen: list[Outcome] | None = None
    quarantined: bool = False
    epoch: int = 0
    left_at: int = 0
    left_n: int | None = None
    degraded_at: int | None = None
    degraded: bool = False
    declined: int = 0
    """The variant's number of outcomes when its rollout ended because it had no lead."""
    clean: int = 0
    """Number of healthy verdicts since the last degraded one, while the variant is degraded."""
    accepted: int = 0
    """The variant's number of outcomes when a person last accepted its level; earlier ones promise nothing."""
    level: list[Outcome] | None = None
    """The outcomes whose level a person accepted; they stay the variant's baseline."""

    @property
    def n(self) -> int:
        return len(self.history)

    @property
    def lifetime(self) -> list[Outcome]:
        return self.history[self.accepted :]

    @property
    def window(self) -> list[Outcome]:
        return self.history[-WINDOW:]

    @property
    def telling(self) -> list[Outcome]:
        """The judged outcomes of the window if there are enough, otherwise all its outcomes."""
        judged = [o for o in self.window if o.judged]
        return judged if len(judged) >= MIN_RECENT else self.window

    @property
    def rank(self) -> tuple[float, int, str]:
        return (-self.q, -self.n, self.name)

    def verdict(self) -> tuple[str, str | None]:
        """Return the verdict, and its worst metric if degraded: by the rule, or for a full window without a success."""
        kind, metric = self._rule()
        return ("DEGRADED", "success_rate") if kind != "DEGRADED" and self.is_hopeless else (kind, metric)

    @property
    def is_hopeless(self) -> bool:
        """Return whether the window since the last activation is full and has no success."""
        judged = [o for o in self.window if o.judged]
        return len(judged) == WINDOW and not any(o.success for o in judged)

    @property
    def is_degraded_by_rule(self) -> bool:
        return self._rule()[0] == "DEGRADED"

    def is_lost(self, outcomes: list[Outcome]) -> bool:
        """Return whether these outcomes would be degraded too, by the rule or because none of them is a success."""
        return self._rule(outcomes)[0] == "DEGRADED" or not any(o.success for o in outcomes)

    def _rule(self, judged: list[Outcome] | None = None) -> tuple[str, str | None]:
        baseline = Shares(self.lifetime if self.frozen is None else self.frozen)
        recent = Shares([o for o in self.window if o.judged] if judged is None else judged)
        if baseline.n < MIN_BASELINE or (judged is None and recent.n < MIN_RECENT):
            return "INCONCLUSIVE", None
        found: list[tuple[bool, Fraction, str]] = []
        if baseline.success_rate > 0:
            drop = (baseline.success_rate - recent.success_rate) / baseline.success_rate
            found.append((drop > exact(0.10), drop * baseline.success_rate, "success_rate"))
        if baseline.avg_reward > 0:
            drop = (baseline.avg_reward - recent.avg_reward) / baseline.avg_reward
            found.append((drop > exact(0.15), drop * baseline.avg_reward / 2, "avg_reward"))
        elif (fall := (baseline.avg_reward - recent.avg_reward) / 2) > exact(0.15):
            found.append((True, fall, "avg_reward"))
        if baseline.error_rate > 0:
            increase = (recent.error_rate - baseline.error_rate) / baseline.error_rate
            found.append((increase > exact(0.20), increase * baseline.error_rate, "error_rate"))
        elif recent.error_rate > exact(0.20):
            found.append((True, recent.error_rate, "error_rate"))
        if not found:
            return "INCONCLUSIVE", None
        # If several metrics are beyond their limits, the one that costs the most outcomes is named.
        beyond = [(lost, metric) for is_beyond, lost, metric in found if is_beyond]
        return ("DEGRADED", max(beyond, key=lambda each: each[0])[1]) if beyond else ("HEALTHY", None)

    def decision(self, *, active: bool) -> str:
        """Return the decision of the guide's matrix."""
        if active:
            return "no_action"
        if self.q >= 0.9 and self.n >= 10:
            recently = self.degraded_at is not None and self.n - self.degraded_at < WINDOW
            return "human_approval" if self.quarantined or recently else "auto_apply"
        return "human_approval" if self.q >= 0.7 and self.n >= 5 else "no_action"


def _mean(outcomes: list[Outcome]) -> Fraction:
    return Shares(outcomes).avg_reward if outcomes else Fraction(0)


def _kept(n: int) -> int:
    """Return how many of a runtime's ``n`` outcomes count: at the 20th, 30th ..., all but the last ten are dropped."""
    return n if n < 20 else 10 + n % 10


@dataclass
class Rollout:
    """A candidate that replaces the active member in stages; each stage keeps what both delivered in it."""

    candidate: Member
    shares: list[Fraction]
    needed: int
    automatic: bool
    kept: list[Outcome] | None
    began: int
    """The task's number of outcomes when the stage began."""
    stages: list[tuple[list[Outcome], list[Outcome]]]
    """Outcomes of the candidate and of the active member, by stage."""
    order: list[tuple[bool, Outcome]] = field(default_factory=list)
    """The outcomes of this stage in order, and whether each is the candidate's."""

    @property
    def n(self) -> int:
        """Outcomes of the candidate in this stage."""
        return len(self.stages[-1][0])

    def so_far(self, metric: Callable[[Outcome], Fraction]) -> tuple[Estimate, Estimate]:
        """Estimate both members over all stages; the active one's stages are weighted like the candidate's."""
        told = [(one, other) for one, other in self.stages if one and other]
        mine = [o for one, _ in told for o in one]
        if not mine:
            return Estimate(0, Fraction(0)), Estimate(0, Fraction(0))
        means = [Estimate.of(other, metric).total / len(other) for _, other in told]
        mean = sum((len(one) * m for (one, _), m in zip(told, means, strict=True)), Fraction(0)) / len(mine)
        n = int(len(mine) ** 2 / sum(Fraction(len(one) ** 2, len(other)) for one, other in told))
        return Estimate.of(mine, metric), Estimate(max(1, n), max(1, n) * mean)

    def lately(self, metric: Callable[[Outcome], Fraction]) -> tuple[Estimate, Estimate]:
        """Estimate both members over the time of the candidate's last 20 to 40 outcomes in this stage."""
        blocks: list[list[tuple[bool, Outcome]]] = []
        for one in self.order:
            if not blocks or sum(mine for mine, _ in blocks[-1]) >= WINDOW:
                blocks.append([])
            blocks[-1].append(one)
        last = [one for block in blocks[-2:] for one in block]
        return (
            Estimate.of([o for mine, o in last if mine], metric),
            Estimate.of([o for mine, o in last if not mine], metric),
        )


CLEAN, PATIENCE = 20, 400


class Model:
    """A task; with ``shares``, promotions are rollouts in these stages of ``needed`` outcomes."""

    def __init__(self, shares: Iterable[float] = (), needed: int = 20) -> None:
        self.shares, self.needed = list(shares), needed
        self.rollout: Rollout | None = None
        self.steps: list[tuple[str, str]] = []
        self.members: dict[str, Member] = {}
        self.active: str | None = None
        self.epoch = self.n = self.changed_n = self.duplicates = 0
        self.came = 0
        self.ids: list[str] = []
        self.rollbacks: list[tuple[str, str]] = []
        self.promotions: list[str] = []
        self.taken_back: list[str] = []
        self.left: tuple[Member, list[Estimate]] | None = None
        """The member that the latest rollback replaced, and what it delivered, while the rollback is being verified."""
        self.reports: dict[str, list[Outcome]] = {}
        """What each known runtime has reported about the active member since its activation."""
        self.blamed = 0
        """Number of rollbacks that were not made because only one runtime reported the degradation."""
        self.ambiguous = False
        """Whether a lead was exactly at the limit, where floats may decide either way."""

    def take(self, invocation: Any) -> None:
        self.came += 1
        if invocation.invocation_id in self.ids[-64:]:
            self.duplicates += 1
            return
        self.ids.append(invocation.invocation_id)
        member = self.members.setdefault(invocation.variant_id, Member(invocation.variant_id))
        if self.active is None and invocation.variant_source != "explore":
            self._activate(member)
        judged = invocation.active_epoch is None or invocation.active_epoch >= member.epoch
        error = invocation.status == "error" or invocation.error_count > 0
        runtime = invocation.runtime_id
        outcome = Outcome(reward(invocation), invocation.status == "success", error, judged, runtime, self.came)
        member.history.append(outcome)
        member.q += max(0.1, 1 / member.n) * (float(outcome.reward) - member.q)
        self.n += 1
        if runtime is not None and (runtime in self.reports or invocation.variant_source != "explore"):
            reported = self.reports.setdefault(runtime, [])
            if judged and member.name == self.active:
                reported.append(outcome)
        self._recorded(member)
        if judged:
            self._stage(member, outcome)
            self._follow(member)

    def _stage(self, member: Member, outcome: Outcome) -> None:
        """Count a judged outcome in the present stage of the rollout, if there is one."""
        if self.rollout is not None and (member is self.rollout.candidate or member.name == self.active):
            mine = member is self.rollout.candidate
            self.rollout.stages[-1][0 if mine else 1].append(outcome)
            self.rollout.order.append((mine, outcome))

    def start(self, name: str, *, shares: Iterable[float], needed: int, automatic: bool = False) -> bool:
        """Begin a rollout; return False if it is refused."""
        member = self.members.get(name)
        if member is None or self.active in {None, name} or self.rollout is not None or member.quarantined:
            return False
        self.rollout = Rollout(member, [exact(share) for share in shares], needed, automatic, member.frozen, self.n, [])
        member.degraded, member.epoch = False, self.epoch
        self._begin_stage(self.rollout)
        self.steps.append(("started", name))
        return True

    def _begin_stage(self, rollout: Rollout) -> None:
        rollout.stages.append(([], []))
        rollout.began, rollout.order, rollout.candidate.frozen = self.n, [], rollout.stages[-1][1]
        for outcome in rollout.candidate.history:
            outcome.judged = False

    def _recorded(self, member: Member) -> None:
        """Hook for subclasses: apply the effects that an outcome has even if it is not judged."""

    def _follow(self, member: Member) -> None:
        if member.name == self.active and self._took_back(member):
            return
        kind, _ = member.verdict()
        self._note(member, kind)
        rollout = self.rollout
        if rollout is not None and member is rollout.candidate:
            if kind == "DEGRADED" and self._is_worse(rollout):
                self._abort(rollout)
            else:
                self._go_on(rollout)
            return
        if member.name != self.active:
            return
        # After 50 outcomes without a target, the engine trusts a full window without a success; the model does not.
        self.ambiguous |= kind == "DEGRADED" and member.is_hopeless and self.n - self.changed_n > 60
        if kind == "DEGRADED" and self._is_one_runtimes_word(member):
            self.blamed += 1
            if rollout is not None:
                self._go_on(rollout)
            return
        if kind == "DEGRADED" and (target := self._target()) is not None:
            left = self._delivered(member)
            member.quarantined, target.quarantined = True, False
            self.rollbacks.append((member.name, target.name))
            self._activate(target)
            self.left = member, left
        elif rollout is not None:
            self._go_on(rollout)
        elif (best := self._candidate(member)) is not None and self.shares:
            self.start(best.name, shares=self.shares, needed=self.needed, automatic=True)
        elif best is not None:
            self.promotions.append(best.name)
            self._activate(best)

    def _note(self, member: Member, kind: str) -> None:
        if kind == "DEGRADED":
            member.degraded_at, member.degraded, member.clean = member.n, True, 0
        elif kind == "HEALTHY" and member.degraded:
            member.clean += 1
            member.degraded = member.clean < CLEAN

    def _is_worse(self, rollout: Rollout) -> bool:
        """Return whether the active member delivered clearly more in a metric since the rollout began, or lately."""
        both = [estimate(metric) for estimate in (rollout.so_far, rollout.lately) for metric in METRICS]
        found = [self._leads(control, candidate, Fraction(2)) for candidate, control in both]
        return any(found)

    def _leads(self, one: Estimate, other: Estimate, errors: Fraction) -> bool:
        if not one.n or not other.n:
            return False
        distance = self._distance(one, other)
        self.ambiguous |= abs(distance - errors**2) < NEAR
        return distance >= errors**2

    def _abort(self, rollout: Rollout) -> None:
        rollout.candidate.quarantined = True
        self._end(rollout)

    def _end(self, rollout: Rollout) -> None:
        self.steps.append(("aborted", rollout.candidate.name))
        self._leave()
        self.epoch, self.changed_n = self.epoch + 1, self.n

    def _go_on(self, rollout: Rollout) -> None:
        """Begin the next stage if the candidate is not worse; to end an automatic rollout, it must be better."""
        active = self.members[self.active or ""]
        is_last = len(rollout.stages) == len(rollout.shares)
        pairs = [rollout.so_far(metric) for metric in METRICS]
        candidate, control = [one for one, _ in pairs], [other for _, other in pairs]
        enough = rollout.n >= rollout.needed and bool(rollout.stages[-1][1])
        if not enough or rollout.candidate.degraded or active.degraded:
            passes = False
        elif rollout.automatic and is_last:
            passes = self._is_better(candidate, control, exact(0.5))
        else:
            clearly = [self._leads(other, one, Fraction(1)) for one, other in pairs]
            passes = not self._is_better(control, candidate, Fraction(0)) and not any(clearly)
        if passes and is_last:
            self._activate(rollout.candidate, step="completed")
        elif passes:
            self._begin_stage(rollout)
            self.steps.append(("stage_passed", rollout.candidate.name))
        elif rollout.automatic and (self.n - rollout.began) * rollout.shares[len(rollout.stages) - 1] >= PATIENCE:
            rollout.candidate.declined = rollout.candidate.n
            rollout.candidate.degraded = False
            for outcome in rollout.candidate.history:
                outcome.judged = False
            self._end(rollout)

    def _may_skip(self, target: Member, degraded: Member) -> bool:
        """Return whether a rollback may choose a member that is being rolled out: it was better over the same time.

        Or its whole history is clearly better than the degraded member, and it was not worse over the same time.
        """
        rollout = self.rollout
        if rollout is None or target is not rollout.candidate:
            return True
        pairs = [rollout.so_far(metric) for metric in METRICS]
        history, left = [Estimate.of(target.lifetime, metric) for metric in METRICS], self._delivered(degraded)
        control, candidate = [other for _, other in pairs], [one for one, _ in pairs]
        if self._is_better(history, left, Fraction(2)) and not (
            candidate[0].n and self._is_better(control, candidate, Fraction(1))
        ):
            return True
        if pairs[0][0].n < rollout.needed:
            return False
        return self._is_better([one for one, _ in pairs], [other for _, other in pairs], Fraction(2))

    def _leave(self) -> None:
        if self.rollout is not None:
            self.rollout.candidate.frozen = self.rollout.kept
            self.rollout = None

    def _is_one_runtimes_word(self, member: Member) -> bool:
        """Return whether one runtime has more than half of the loss, while two others and the other outcomes are fine.

        The loss is the amount by which outcomes are below the mean of the baseline.

        The others are judged by their last outcomes: all of them up to 19, or the last 10 to 19 if there are more.
        """
        judged, metric = [o for o in member.window if o.judged], member.verdict()[1]
        before = member.lifetime if member.frozen is None else member.frozen

        def lost(outcomes: list[Outcome]) -> Fraction:
            if member.is_hopeless and not member.is_degraded_by_rule:
                return Fraction(sum(not o.success for o in outcomes))
            return sum((self._harm(metric, o) - self._expected(metric, before) for o in outcomes), Fraction(0))

        def fail_too(outcomes: list[Outcome], times: int = 4) -> bool:
            alike = times * lost(outcomes) / len(outcomes) >= lost(its) / len(its)
            return alike and member.is_lost(outcomes)

        by_runtime: dict[str | None, list[Outcome]] = {}
        for o in judged:
            by_runtime.setdefault(o.runtime, []).append(o)
        short = {name: sum(max(Fraction(0), lost([o])) for o in its) for name, its in by_runtime.items()}
        worst = max(short, key=lambda name: short[name])
        its, rest = by_runtime[worst], [o for o in judged if o.runtime != worst]
        if 2 * short[worst] <= sum(short.values()):
            return False
        others = {name: o for name, o in self.reports.items() if name != worst and o}
        said = [o for outcomes in others.values() for o in outcomes[-_kept(len(outcomes)) :]]
        if len(others) < 2 or len(said) < MIN_RECENT or fail_too(said):
            return False
        return len(rest) < 3 or not fail_too(rest, 4 if len(rest) >= MIN_RECENT else 2)

    def _harm(self, metric: str | None, outcome: Outcome) -> Fraction:
        if metric == "avg_reward":
            return -outcome.reward / 2
        return Fraction(outcome.error) if metric == "error_rate" else Fraction(not outcome.success)

    def _expected(self, metric: str | None, outcomes: list[Outcome]) -> Fraction:
        return sum((self._harm(metric, o) for o in outcomes), Fraction(0)) / len(outcomes)

    def _target(self) -> Member | None:
        degraded = self.members[self.active or ""]
        left = [o for o in degraded.window if o.judged]
        others = [
            m
            for m in self.members.values()
            if m.name != self.active
            and m.n >= 5
            and self._is_better_target(m, degraded)
            and self._may_skip(m, degraded)
        ]
        if not any(o.success for o in left):
            others = [m for m in others if any(o.success for o in m.telling)]
        return min(others, key=lambda m: (m.quarantined, m.rank), default=None)

    def _took_back(self, target: Member) -> bool:
        """Take the latest rollback back if its target is worse, over 10 to 20 outcomes, than the replaced variant."""
        if self.left is None:
            return False
        (left, delivered), judged = self.left, [o for o in target.window if o.judged]
        if len(judged) < MIN_RECENT:
            return False
        judged_now = [Estimate.of(judged, metric) for metric in METRICS]
        if not self._is_failing(left) and self._is_better(delivered, judged_now, exact(0.5)):
            left.quarantined = False
            self.taken_back.append(left.name)
            self._activate(left)
            return True
        if len(judged) == WINDOW:
            self.left = None
        return False

    def _is_failing(self, member: Member) -> bool:
        """Whether an open incident is about a tag of the member; without tags, there is none."""
        return False

    def _delivered(self, degraded: Member, *, without_worst: bool = False) -> list[Estimate]:
        """Estimate what a degraded member delivers: its judged window and ten outcomes of its baseline.

        ``without_worst`` leaves the worst outcome of the window out of both.
        """
        baseline = degraded.lifetime if degraded.frozen is None else degraded.frozen
        judged = [o for o in degraded.window if o.judged]
        if without_worst:
            worst = min(judged, key=lambda o: (o.success, not o.error, o.reward))
            judged = [o for o in judged if o is not worst]
            baseline = [o for o in baseline if o is not worst]
        return [Estimate.of(judged, metric, baseline) for metric in METRICS]

    def _is_better_target(self, target: Member, degraded: Member) -> bool:
        """Return whether the target's lifetime and last judged outcomes promise more than the degraded member's."""
        left = self._delivered(degraded)
        promised = [Estimate.of(target.lifetime, metric) for metric in METRICS]
        if not self._is_better(promised, left, exact(0.5)):
            return False
        if not self._is_better(promised, self._delivered(degraded, without_worst=True), Fraction(0)):
            return False
        lately = [o for o in target.window if o.judged]
        if len(lately) < MIN_RECENT:
            return True
        errors = exact(0.5) * target.quarantined
        if self._is_better([Estimate.of(lately, metric) for metric in METRICS], left, errors):
            return True
        was_left = target.left_n is not None and target.n - target.left_at < MIN_RECENT
        is_stale = was_left and self.n - (target.left_n or 0) >= PAROLE
        history = [Estimate.of(target.lifetime, metric) for metric in METRICS]
        return is_stale and self._is_better(history, left, Fraction(2))

    def _is_better(self, one: list[Estimate], other: list[Estimate], errors: Fraction) -> bool:
        """Return whether ``one`` leads in a metric by ``errors`` standard errors.

        It may trail in the other metrics, but by less than it leads, and by less than one standard error.
        """
        distances = [self._distance(*each) for each in zip(one, other, strict=True)]
        lead, trails = max(distances), -min(distances)
        limits = [trails, errors**2, *([Fraction(1)] if trails > 0 else [])]
        self.ambiguous |= any(0 < abs(lead - limit) < NEAR for limit in limits[:2])
        self.ambiguous |= any(0 < abs(trails - limit) < NEAR for limit in limits[2:])
        return lead > 0 and lead >= errors**2 and lead > trails and trails < 1

    def _distance(self, one: Estimate, other: Estimate) -> Fraction:
        """Return the square of the distance of two means in standard errors, negative if the other is higher."""
        both = (one.total + other.total) / (one.n + other.n)
        lead = one.pulled(both) - other.pulled(both)
        self.ambiguous |= 0 < abs(lead) < NEAR
        return lead * abs(lead) / (one.variance + other.variance)

    def _candidate(self, active: Member) -> Member | None:
        if self.n - self.changed_n < 20:
            return None
        ready = []
        for m in self.members.values():
            if m is active or m.decision(active=False) != "auto_apply" or m.n - m.left_at < 10 or m.n < 2 * m.declined:
                continue
            leads = (m.q - active.q, float(_mean(m.lifetime) - _mean(active.lifetime)))
            self.ambiguous |= any(abs(lead - 0.05) < 1e-9 for lead in leads)
            promised = [Estimate.of(m.lifetime, metric) for metric in METRICS]
            present = [Estimate.of(active.lifetime, metric) for metric in METRICS]
            tried_by = {o.runtime for o in m.window}
            at_work = {name for name, outcomes in self.reports.items() if outcomes}
            if len(tried_by) == 1 and at_work - tried_by:
                continue
            if all(lead >= 0.05 for lead in leads) and self._is_better(promised, present, exact(0.5)):
                ready.append(m)
        return min(ready, key=lambda m: m.rank, default=None)

    def _activate(self, to: Member, step: str = "") -> None:
        if self.rollout is not None:
            self.steps.append((step or "ended", self.rollout.candidate.name))
        self._leave()
        to.frozen, to.degraded, to.clean = to.level, False, 0
        if self.active is not None:
            old = self.members[self.active]
            old.left_at, old.left_n = old.n, self.n
            if to.level is None and len(to.lifetime) < MIN_BASELINE:
                own = old.lifetime
                known = own if old.frozen is None or len(old.frozen) <= len(own) else old.frozen
                to.frozen = [replace(o) for o in known] if len(known) >= MIN_BASELINE else None
        for outcome in to.history:
            outcome.judged = False
        self.active, self.epoch, self.changed_n, self.left = to.name, self.epoch + 1, self.n, None
        self.reports = {name: [] for name in self.reports}
        to.epoch = self.epoch
