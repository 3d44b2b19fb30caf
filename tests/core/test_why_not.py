"""The explanation and the engine never disagree: what the conditions say is what the next outcome does."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.histories import histories
from core.stories import POLICIES, Storyteller
from core.task import HOUR, Task, proven
from crl_stream.core import messages as m
from crl_stream.core.monitor import changes as c
from crl_stream.core.monitor import lifecycle, record, step
from crl_stream.core.monitor.lifecycle import TRANSITIONS
from crl_stream.core.monitor.row import StandingOrder, decode_row, encode_row
from crl_stream.core.monitor.turn import Context, Turn
from crl_stream.core.monitor.why_not.answers import ANSWERS
from crl_stream.core.monitor.why_not.asked import about_outcome, let_time_pass, why_not
from crl_stream.core.monitor.why_not.conditions import Question
from crl_stream.core.monitor.why_not.endings import about_time
from crl_stream.core.policy import Policy


class Watched:
    """A task whose every step is predicted by its questions, and then compared with what the engine does."""

    def __init__(self, policy: Policy, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.policy, self.teller = policy, Storyteller(seed, newcomers=policy is POLICIES["eager"])
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
ABOUT_THE_TASK |= {"benefit_judged"}


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
            case c.Benefited():
                yield "benefit_judged", ""
            case c.LookedBack():
                yield "judged_afterwards", ""


@pytest.mark.parametrize("name", POLICIES)
def test_what_the_conditions_say_is_what_the_next_outcome_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(12):
        watched = Watched(POLICIES[name], seed, monkeypatch)
        watched.tell(400)


@given(history=histories, name=st.sampled_from(sorted(POLICIES)))
@settings(max_examples=150, deadline=None)
def test_it_holds_for_any_history_of_outcomes_scores_and_commands(history: list[Any], name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        watched = Watched(POLICIES[name], 0, patch)
        for message in history:
            watched.fold(message)
            questions(watched.task)


SEEDS = {"guide": (0, 1), "stages": (0, 1), "shadow": (0,), "costs": (10, 11), "shared": (0, 1, 2, 3), "eager": (1,)}
"""Stories in which every step happens at least once."""


def test_stories_make_every_step_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison proves little about a step that no story makes."""
    acts: Counter[str] = Counter()
    for name, seeds in SEEDS.items():
        for seed in seeds:
            watched = Watched(POLICIES[name], seed, monkeypatch)
            watched.tell(400)
            acts += watched.acts
    answered = {key for keys in ANSWERS.values() for key in keys} | {"cause_recovered"}
    assert {key for key in answered if not acts[key]} == {"first", "forgotten"}


# -- completeness ------------------------------------------------------------------------------------
CORE = Path(lifecycle.__file__).parent
BY_PEOPLE = {"commands", "rollout_orders", "registration", "filing", "lifecycle", "changes"}
"""Modules that only apply what people send, or that define changes; the rest of the engine works by itself."""


@cache
def automatic() -> set[type]:
    """Return the changes that the engine makes without a command, according to its source."""
    names = {change.__name__: change for change in get_args(c.Change)}
    found = set()
    for path in CORE.glob("*.py"):
        if path.stem in BY_PEOPLE:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                found.add(names[node.func.id])
    return found


def test_the_walk_finds_what_the_engine_does_by_itself() -> None:
    assert {c.RolledBack, c.Activated, c.RolloutAborted, c.CommonCauseEnded, c.GivenUp, c.Unpinned} <= automatic()
    assert not {c.Pinned, c.Retired, c.ReviewedRollback, c.RolloutPaused} & automatic()


def test_every_change_that_something_automatic_makes_has_a_question() -> None:
    assert automatic() - set(ANSWERS) == set()


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: f"{row.machine}: {row.source} {row.event.__name__}")
def test_every_automatic_transition_of_the_table_has_a_line(row: lifecycle.Transition) -> None:
    """The line is among the answers about a task that is in every condition at once."""
    if row.event in automatic():
        assert set(ANSWERS[row.event]) & asked_of_everything()


@cache
def asked_of_everything() -> set[str]:
    """Return the keys of all questions that are asked about a task, with and without an active variant."""
    keys = set[str]()
    for name in ("guide", "stages", "costs"):
        task = Task(POLICIES[name])
        task.run("default", "S" * 10, cost=1.0, variant_source="explore")
        keys |= {question.key for question in questions(task)}
        task.run("default", "S" * 30, cost=1.0)
        task.run("v2", "S" * 30, cost=1.0, variant_source="explore")
        task.order(m.StartRollout, variant_id="v2")
        keys |= {question.key for question in questions(task)}
    return keys


def questions(task: Task, variant_id: str | None = None) -> list[Question]:
    at = Context(0, task.offset, task.now, 0, "0" * 16, fleet=task.fleet, tags=task.tags)
    return why_not(encode_row(task.row), at, task.policy, variant_id)


def test_a_variant_that_is_asked_about_gets_only_its_own_answers() -> None:
    task = proven(v2="S" * 30)
    assert {one.variant_id for one in questions(task, "v2")} == {"v2"}
    assert {one.variant_id for one in questions(task, "default")} == {"default", ""}
    assert {"rolled_back", "degraded"} <= {one.key for one in questions(task, "default")}
    assert {"promoted", "forgotten"} <= {one.key for one in questions(task, "v2")}


def test_asking_changes_nothing() -> None:
    task = proven(v2="S" * 30)
    task.run("default", "F" * 3)
    before = encode_row(task.row)
    questions(task)
    assert encode_row(task.row) == before


# -- after the fact: what an operator sees ------------------------------------------------------------
def test_a_candidate_that_was_degraded_lately_says_so() -> None:
    task = Task()
    task.run("default", "S" * 30, reward=0.3)
    task.run("v2", "S" * 30 + "FFF" + "S" * 17, variant_source="explore")
    assert task.variant("v2").q >= 0.9
    assert stop_of(task, "promoted", "v2") == "degradation"


def stop_of(task: Task, key: str, variant_id: str) -> str | None:
    [found] = [one for one in questions(task, variant_id) if one.key == key]
    return None if found.stops is None else found.stops.key


def test_a_stop_of_promotions_is_why_a_leader_waits_but_not_why_a_bad_variant_stays() -> None:
    task = proven(v2="S" * 30)
    task.fleet = StandingOrder("eve", "release night", task.now, stops="promotions")
    task.run("default", "F")
    [promoted] = [one for one in questions(task, "v2") if one.key == "promoted"]
    [line] = [one for one in promoted.conditions if one.key == "fleet_hold"]
    assert not line.holds and "promotions are stopped in the whole fleet by eve" in line.text
    [rolled] = [one for one in questions(task, "default") if one.key == "rolled_back"]
    [line] = [one for one in rolled.conditions if one.key == "fleet_hold"]
    assert line.holds and line.text.endswith("this does not stop protection")
    task.run("default", "F" * 12)
    assert task.row.active == "v2", "a rollback still happens"


def test_it_looks_bad_and_the_first_false_condition_says_why_nothing_happened() -> None:
    task = proven(v2="S" * 30)
    assert stop_of(task, "rolled_back", "default") == "rule"
    task.order(m.HoldTask)
    task.run("default", "F" * 12)
    assert stop_of(task, "rolled_back", "default") == "hold"
    task.order(m.ResumeTask)
    assert stop_of(task, "rolled_back", "default") is None
    task.run("default", "F")
    assert task.row.active == "v2"
    assert stop_of(task, "rolled_back", "v2") == "outcomes"


def test_a_hold_that_is_over_by_now_is_not_in_the_way() -> None:
    task = proven(v2="S" * 30)
    task.order(m.HoldTask, hours=1.0)
    task.run("default", "F" * 12)
    task.pass_time(2 * HOUR)
    assert stop_of(task, "hold_ended", "default") is None
    assert stop_of(task, "rolled_back", "default") is None


def test_a_task_without_a_target_says_so_with_the_reason_of_each_candidate() -> None:
    task = proven(v2="F" * 30)
    task.run("default", "F" * 12)
    [found] = [one for one in questions(task) if one.key == "rolled_back"]
    assert found.stops is not None and found.stops.key == "target"
    assert found.stops.details[0].startswith("v2 (Q -")


@pytest.mark.parametrize(("command", "stops"), [(m.PinVariant, "pin"), (m.HoldTask, "hold")])
def test_it_leads_and_the_first_false_condition_says_why_it_is_not_promoted(command: type, stops: str) -> None:
    task = Task()
    task.run("default", "S" * 30, reward=0.5)
    task.order(command)
    task.run("v2", "S" * 10, reward=0.95, variant_source="explore")
    assert stop_of(task, "promoted", "v2") == stops
