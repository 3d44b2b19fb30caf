"""The naive model of the guide, with the rule about a common cause: whole histories, recomputed in fractions.

It shares no code with the engine.  Its numbers are those of ADR 59.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from .reference_model import METRICS, MIN_RECENT, NEAR, Estimate, Member, Model, Outcome, exact

LEAST, KNOWN, CLEAN, LIFE = 4, 10, 10, 200


@dataclass
class Cause:
    """An incident: the tag that is failing, and what was known when the incident was found."""

    tag: tuple[str, str]
    found_at: int
    until_n: int
    first: str
    fall: list[Outcome]
    before: dict[str, list[Outcome]]


class TaggedModel(Model):
    """A task whose outcomes name their provider and model."""

    def __init__(self) -> None:
        super().__init__()
        self.cause: Cause | None = None
        self.causes: list[tuple[str, str]] = []
        self.returns: list[str] = []
        self.took_over = ""
        """The variant that the latest change replaced, if that change was a rollback; otherwise empty."""
        self.tags: dict[str, dict[str, str]] = {}

    def take(self, invocation: Any) -> None:
        if self.cause is not None and self.n >= self.cause.until_n:
            self._end()
        if invocation.invocation_id not in self.ids[-64:]:
            known = self.tags.setdefault(invocation.variant_id, {})
            known |= {kind: name for kind in ("provider", "model") if (name := getattr(invocation, kind))}
        super().take(invocation)

    def _recorded(self, member: Member) -> None:
        if self.cause is not None and self._has(member, self.cause.tag) and self._is_back(member, self.cause):
            self._end()

    def _follow(self, member: Member) -> None:
        kind, _ = member.verdict()
        if kind == "DEGRADED":
            member.degraded_at = member.n
        if member.name != self.active:
            return
        opened, epoch = self._fell_together(member), self.epoch
        if opened and self.active != member.name:
            return
        if not opened and self._took_back(member):
            return
        assert epoch == self.epoch
        self.ambiguous |= kind == "DEGRADED" and member.is_hopeless and self.n - self.changed_n > 60
        if kind == "DEGRADED":
            target = self._target()
            failing = [] if self.cause is None else [self.cause.tag]
            explained = self.cause is not None and self._has(member, self.cause.tag)
            if target is not None and not explained and (found := self._find(member)) is not None:
                self._open(found)
                explained, target = True, self._target(*failing)
            if target is not None:
                left = self._delivered(member)
                member.quarantined, target.quarantined = not explained, False
                self.rollbacks.append((member.name, target.name))
                self._activate(target)
                self.left, self.took_over = (member, left), member.name
                return
        if self.cause is None and (best := self._candidate(member)) is not None:
            self.promotions.append(best.name)
            self._activate(best)

    # -- finding a cause ---------------------------------------------------------------------------
    def _fell_together(self, target: Member) -> bool:
        """Return whether the rolled-back variant fell together with others; if the target fell too, undo it."""
        if self.left is None or (self.cause is not None and self._has(target, self.cause.tag)):
            return False
        (back, delivered), found = self.left, self._find(self.left[0])
        failing = [] if self.cause is None else [self.cause.tag]
        if found is None or found.tag in failing:
            return False
        self._open(found)
        back.quarantined = False
        if not self._has(target, found.tag):
            return True
        to = back if found.first == target.name else self.members[found.first]
        to.quarantined = False
        now = [Estimate.of([o for o in target.window if o.judged], metric) for metric in METRICS]
        if self._is_better(now, delivered, Fraction(0)) or self._target(*failing) is not None:
            self.left = None
            return True
        self.returns.append(to.name)
        self._activate(to)
        return True

    def _find(self, fallen: Member) -> Cause | None:
        began = self._began(fallen)
        if began is None:
            return None
        others = [m for m in self.members.values() if m is not fallen]
        shares = {m.name: set(self._tags(m)) & set(self._tags(fallen)) for m in others}
        near = [m for m in others if any(kind == "model" for kind, _ in shares[m.name])]
        far = [m for m in others if shares[m.name] and m not in near]
        for kind, group in (("provider", far), ("model" if self.tags[fallen.name].get("model") else "provider", near)):
            if group and self._fell(group, began):
                tag = (kind, self.tags[fallen.name][kind])
                break
        else:
            return None
        before, fall = {}, []
        for m in self.members.values():
            since = self._since(m, began)
            known = self._without(m, since)
            if self._has(m, tag) and len(known) >= KNOWN:
                before[m.name], fall = known, fall + since
        first = fallen.name if self.cause is None or self.cause.first not in before else self.cause.first
        return Cause(tag, self.came, self.n + LIFE, first, fall, before)

    def _began(self, fallen: Member) -> int | None:
        baseline = fallen.history if fallen.frozen is None else fallen.frozen
        expected = sum(sum((metric(o) for o in baseline), Fraction(0)) / len(baseline) for metric in METRICS)
        losses, lost = [(Fraction(0), -1)], Fraction(0)
        for outcome in reversed([o for o in fallen.window if o.judged]):
            lost += expected - sum(metric(outcome) for metric in METRICS)
            losses.append((lost, outcome.at))
        most = max(loss for loss, _ in losses)
        self.ambiguous |= any(0 < most - loss < NEAR for loss, _ in losses)
        at = next(at for loss, at in losses if loss == most)
        return None if at < 0 else at

    def _fell(self, group: list[Member], began: int) -> bool:
        came: list[Outcome] = []
        expected, least = [Fraction(0)] * 3, None
        for m in group:
            since = self._since(m, began)
            known = self._without(m, since)
            if not since or len(known) < KNOWN or m.quarantined or self._had_fallen(m, known, began):
                continue
            means = [sum((metric(o) for o in known), Fraction(0)) / len(known) for metric in METRICS]
            expected = [total + mean * len(since) for total, mean in zip(expected, means, strict=True)]
            least = len(known) if least is None else min(least, len(known))
            came += since
        if least is None or len(came) < LEAST:
            return False
        before = [Estimate(least, total / len(came) * least) for total in expected]
        return self._is_better(before, [Estimate.of(came, metric) for metric in METRICS], Fraction(3))

    def _had_fallen(self, member: Member, known: list[Outcome], began: int) -> bool:
        lately = [o for o in member.window if o.at < began]
        if not lately:
            return False
        estimates = [[Estimate.of(some, metric) for metric in METRICS] for some in (known, lately)]
        return self._is_better(estimates[0], estimates[1], Fraction(2))

    # -- its end -----------------------------------------------------------------------------------
    def _open(self, cause: Cause) -> None:
        self.cause = cause
        self.causes.append(cause.tag)

    def _is_back(self, member: Member, cause: Cause) -> bool:
        lately = self._lately(member, cause)
        if member.name not in cause.before or len(lately) < CLEAN:
            return False
        now, before, fall = (
            [Estimate.of(some, metric) for metric in METRICS]
            for some in (lately, cause.before[member.name], cause.fall)
        )
        return not self._is_better(before, now, Fraction(1)) and self._is_better(now, fall, Fraction(2))

    def _lately(self, member: Member, cause: Cause) -> list[Outcome]:
        return [o for o in member.window if o.at > cause.found_at][-CLEAN:]

    def _end(self) -> None:
        cause, self.cause = self.cause, None
        assert cause is not None
        for m in self.members.values():
            if self._has(m, cause.tag) and (len(self._lately(m, cause)) < CLEAN or self._is_back(m, cause)):
                m.degraded_at = None
                for outcome in m.history:
                    outcome.judged = False
        self._return(cause)

    def _return(self, cause: Cause) -> None:
        """Return to the first variant from one without the tag that took over, if the first one promises more."""
        active, first = self.members[self.active or ""], self.members[cause.first]
        if self._has(active, cause.tag) or not self.took_over or cause.first not in cause.before:
            return
        failing = len(self._lately(first, cause)) >= CLEAN and not self._is_back(first, cause)
        judged = [o for o in active.window if o.judged]
        telling = judged if len(judged) >= MIN_RECENT else active.history
        delivers = [Estimate.of(telling, metric) for metric in METRICS]
        promised = [Estimate.of(cause.before[cause.first], metric) for metric in METRICS]
        if failing or not self._has(self.members[self.took_over], cause.tag):
            return
        if self._is_better(promised, delivers, exact(0.5)):
            self.returns.append(first.name)
            self._activate(first)
            self.left = active, delivers

    # -- small things ------------------------------------------------------------------------------
    def _target(self, *failing: tuple[str, str]) -> Member | None:
        if self.cause is not None:
            failing = (*failing, self.cause.tag)
        kept = self.members
        self.members = {n: m for n, m in kept.items() if n == self.active or not set(failing) & set(self._tags(m))}
        try:
            return super()._target()
        finally:
            self.members = kept

    def _activate(self, to: Member) -> None:
        super()._activate(to)
        self.took_over = ""

    def _since(self, member: Member, began: int) -> list[Outcome]:
        return [o for o in member.window if o.judged and o.at >= began]

    def _without(self, member: Member, some: list[Outcome]) -> list[Outcome]:
        return [o for o in member.history if all(o is not other for other in some)]

    def _tags(self, member: Member) -> list[tuple[str, str]]:
        return list(self.tags.get(member.name, {}).items())

    def _is_failing(self, member: Member) -> bool:
        """Whether the open incident is about a tag of the member."""
        return self.cause is not None and self._has(member, self.cause.tag)

    def _has(self, member: Member, tag: tuple[str, str]) -> bool:
        return tag in self._tags(member)
