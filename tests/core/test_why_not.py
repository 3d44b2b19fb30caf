"""The explanation and the engine never disagree: what the conditions say is what the next outcome does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from core.stories import POLICIES, Storyteller
from core.task import Task
from crl_stream.core import messages as m
from crl_stream.core.monitor import changes as c
from crl_stream.core.monitor import lifecycle, record, step
from crl_stream.core.monitor.row import decode_row, encode_row
from crl_stream.core.monitor.turn import Context, Turn
from crl_stream.core.monitor.why_not.asked import about_outcome, let_time_pass
from crl_stream.core.monitor.why_not.conditions import Question
from crl_stream.core.monitor.why_not.endings import about_time
from crl_stream.core.policy import Policy


class Watched:
    """A task whose every step is predicted by its questions, and then compared with what the engine does."""

    def __init__(self, policy: Policy, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.policy, self.teller = policy, Storyteller(seed)
        self.task = Task(policy)
        self.before: list[Any] = []
        self.after: list[Any] = []
        self.acts: Counter[str] = Counter()
        self._into = self.before
        self._spy(monkeypatch)

    def _spy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def apply(turn: Turn, changes: Any) -> None:
            self._into.extend(changes)
            lifecycle.apply(turn, changes)

        def recorded(turn: Turn, message: Any) -> Any:
            answer = record.record(turn, message)
            self._into = self.after
            return answer

        monkeypatch.setattr(step, "apply", apply)
        monkeypatch.setattr(step, "record", recorded)

    def tell(self, length: int) -> None:
        """Tell a story of ``length`` messages."""
        for _ in range(length):
            row = self.task.row
            candidate = None if row.rollout is None else row.rollout.variant_id
            for message in self.teller.messages(row.active, row.epoch, candidate, self.task.now):
                self.task.fleet, self.task.tags = self.teller.fleet, self.teller.tags
                self.fold(message)

    def fold(self, message: Any) -> None:
        """Predict the step, make it, and compare."""
        task = self.task
        known = encode_row(task.row)
        at = Context(0, task.offset + 1, task.now + 1_000, 0, "0" * 16, fleet=task.fleet, tags=task.tags)
        time, outcome = asked(known, message, at, self.policy) if isinstance(message, m.Invocation) else ([], [])
        self.before.clear(), self.after.clear()
        self._into = self.before
        task.take(message)
        if isinstance(message, m.Invocation):
            self.compare(time, outcome)

    def compare(self, time: list[Question], outcome: list[Question]) -> None:
        for question in (*time, *outcome):
            assert question.acts == (question.stops is None), question
            self.acts[question.key] += question.acts
        acting = {named(one.key, one.variant_id) for one in (*time, *outcome) if one.acts}
        assert {key for key, _ in acting if key in ENDINGS} == set(endings(self.before))
        if outcome:
            enforced = self.policy.operations.mode == "enforce"
            told = {named(*one) for one in made(self.after, enforced=enforced)}
            assert {one for one in acting if one[0] not in ENDINGS} == told


ENDINGS = {"unpinned", "hold_ended", "cause_over"}
ABOUT_THE_TASK = {"verified", "cause_recovered", "stage_passed", "stage_overdue", "judged_afterwards", "taken_back"}


def named(key: str, variant_id: str) -> tuple[str, str]:
    """Return what identifies an answer: some changes do not name a variant, and two questions find a cause."""
    if key in {"fell_together", "common_cause"}:
        return "found a cause", ""
    return key, "" if key in ABOUT_THE_TASK else variant_id


def asked(known: bytes, message: Any, at: Context, policy: Policy) -> tuple[list[Question], list[Question]]:
    """Return the questions about time, and those about the outcome once it is recorded."""
    row = decode_row(known)
    row.offset = at.offset
    turn = Turn(row, at, policy)
    row.time = max(row.time, at.timestamp_ms)
    time = list(about_time(turn))
    let_time_pass(turn)
    _, _, variant, judged = record.record(turn, message)
    if variant is None:
        return time, []
    return time, about_outcome(turn, variant, turn.measured, judged=judged)


def endings(changes: list[Any]) -> Iterator[str]:
    """Yield the keys of the questions that what the engine did before the outcome answers."""
    names = {c.Unpinned: "unpinned", c.HoldEnded: "hold_ended", c.CommonCauseEnded: "cause_over"}
    for change in changes:
        if type(change) in names:
            yield names[type(change)]


def made(changes: list[Any], *, enforced: bool) -> Iterator[tuple[str, str]]:
    """Yield key and variant of each question that what the engine did answers with yes."""
    costs = any(type(one) is c.GuardrailBroken and one.leads for one in changes)
    for change in changes:
        match change:
            case c.BecameDegraded() | c.StayedDegraded():
                yield "degraded", change.variant.variant_id
            case c.AlertOpened():
                yield "alerted", change.variant.variant_id
            case c.Recovered():
                yield "recovered", change.variant.variant_id
            case c.RolledBack() if enforced:
                yield "guardrail_acted" if costs else "rolled_back", change.variant.variant_id
            case c.TakenBack() if change.cause == "rollback_verified_worse":
                yield "taken_back", change.variant.variant_id
            case c.VerificationEnded():
                yield "verified", ""
            case c.CommonCauseFound():
                yield "found a cause", ""
            case c.CommonCauseEnded():
                yield "cause_recovered", ""
            case c.GuardrailBroken() if not (change.leads and enforced):
                yield "guardrail_alerted", change.variant.variant_id
            case c.GuardrailKept():
                yield "guardrail_kept", change.variant.variant_id
            case c.Activated() if change.cause == "auto_apply":
                yield "promoted", change.to.variant_id
            case c.Activated() if change.cause == "rollout":
                yield "stage_passed", change.to.variant_id
            case c.RolloutStarted():
                yield "promoted", change.candidate.variant_id
            case c.StagePassed():
                yield "stage_passed", ""
            case c.RolloutStalled():
                yield "stage_overdue", ""
            case c.RolloutAborted() if change.grounds is None:
                yield "stage_overdue", change.candidate.variant_id
            case c.RolloutAborted():
                yield "guardrail_acted" if costs else "rollout_aborted", change.candidate.variant_id
            case c.LookedBack():
                yield "judged_afterwards", ""


@pytest.mark.parametrize("name", POLICIES)
def test_what_the_conditions_say_is_what_the_next_outcome_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(6):
        watched = Watched(POLICIES[name], seed, monkeypatch)
        watched.tell(400)
