"""The scorecard of shadow mode: each rollback that is only reported is judged by what happened next."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any, NamedTuple

import msgspec
import pytest
from builders import a_command, an_invocation, invocations
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.changes import LookedBack
from crl_stream.core.monitor.row import MICRO, Sums, TaskRow, decode_row, encode_row
from crl_stream.core.monitor.scorecard import look_back
from crl_stream.core.monitor.step import Context
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.policy import Degradation, Operations, Policy, Rollback

from .reference_model import METRICS, Estimate, Model, Outcome, exact, reward
from .task import Task
from .test_feedback import feedback

SHADOW = Policy(operations=Operations(mode="shadow"))
GOOD = "SSSSSSSSSF" * 4
"""Outcomes of which nine in ten succeed, which gives a Q-value too low for a promotion."""


def reported(outcomes: str = "F", policy: Policy = SHADOW) -> Task:
    """Build a task whose ``default`` failed until a rollback to ``steady`` was reported."""
    task = Task(policy)
    task.run("default", "S" * 40)
    task.run("steady", GOOD, variant_source="explore")
    until_reported(task, outcomes)
    assert (task.row.active, task.stated(m.RollbackEvent)[-1].enforced) == ("default", False)
    return task


def until_reported(task: Task, outcomes: str, **fields: Any) -> None:
    """Let ``default`` have these outcomes, again and again, until shadow mode reports a rollback."""
    for _ in range(100):
        if task.stated(m.RollbackEvent):
            return
        task.run("default", outcomes, **fields)
    raise AssertionError("no rollback was reported")


def the_card(task: Task) -> m.RollbackScorecard:
    card = task.stated(m.TaskSnapshot)[-1].scorecard
    assert card is not None
    return card


def found(task: Task) -> list[str]:
    return [fact.finding for fact in task.stated(m.Hindsight)]


# -- stories -----------------------------------------------------------------------------------------
def test_a_collapse_that_goes_on_was_rightly_reported_and_what_it_costs_is_counted() -> None:
    task = reported()
    task.run("default", "F" * 29 + "S" * 20)
    assert not found(task)
    task.run("default", "F")
    [fact] = task.stated(m.Hindsight)
    [event] = task.stated(m.RollbackEvent)
    assert (fact.rollback_id, fact.from_variant, fact.to_variant) == (event.rollback_id, "default", "steady")
    assert (fact.finding, fact.outcomes, fact.bad, fact.bad_of_target) == ("right", 50, 30, 5.0)
    assert (fact.compared_with, fact.avoidable, fact.caused, fact.epoch) == ("promise", 25, 0, 1)
    assert fact.reasoning == (
        "default delivered less than steady in its next 50 outcomes: reward -0.200 against 0.800, "
        "success 40.0% against 90.0%"
    )
    card = the_card(task)
    assert (card.judged, card.right, card.wrong, card.open) == (1, 1, 0, 0)
    assert (card.avoidable, card.caused, card.outcomes, card.watched) == (25, 0, 50, None)


def test_a_dip_that_ends_by_itself_was_wrongly_reported() -> None:
    task = reported()
    task.run("default", "S" * 60)
    [fact] = task.stated(m.Hindsight)
    assert (fact.finding, fact.reasoning) == ("wrong", f"default recovered by itself within {fact.outcomes} outcomes")
    assert fact.avoidable == 0
    assert fact.caused == -floor(Fraction(0) - Fraction(fact.outcomes, 10))
    card = the_card(task)
    assert (card.right, card.wrong, card.caused) == (0, 1, fact.caused)


def test_a_variant_that_stays_as_good_as_the_target_was_wrongly_reported_even_if_it_never_recovers() -> None:
    task = reported(policy=msgspec.structs.replace(SHADOW, degradation=Degradation(clean_verdicts=1_000)))
    task.run("default", "SSSSSSSSSF" * 5)
    [fact] = task.stated(m.Hindsight)
    assert (fact.finding, fact.outcomes, fact.avoidable, fact.caused) == ("wrong", 50, 0, 0)
    assert fact.reasoning.startswith("default delivered no less than steady in its next 50 outcomes: reward 0.8")


def test_if_the_target_fails_in_the_same_time_the_rollback_would_not_have_helped() -> None:
    task = reported()
    for _ in range(50):
        task.run("default", "F")
        task.run("steady", "F", variant_source="explore")
    [fact] = task.stated(m.Hindsight)
    assert (fact.finding, fact.compared_with, fact.bad_of_target) == ("wrong", "outcomes", 50.0)


def test_nine_outcomes_of_the_target_are_too_few_to_replace_its_promise() -> None:
    task = reported()
    task.run("steady", "F" * 9, variant_source="explore")
    task.run("default", "F" * 50)
    [fact] = task.stated(m.Hindsight)
    assert (fact.finding, fact.compared_with, fact.bad_of_target) == ("right", "promise", 5.0)


@pytest.mark.parametrize(("outcomes", "finding"), [(9, "open"), (10, "right")])
def test_a_person_who_activates_another_variant_ends_it_with_what_there_was(outcomes: int, finding: str) -> None:
    task = reported()
    task.run("default", "F" * outcomes)
    task.order(m.ActivateVariant, variant_id="steady")
    [fact] = task.stated(m.Hindsight)
    assert (fact.finding, fact.outcomes, fact.epoch) == (finding, outcomes, 1)
    assert f"{outcomes} outcomes until steady became active" in fact.reasoning
    card = the_card(task)
    assert (card.judged, card.open, card.outcomes) == ((1, 0, 10) if finding == "right" else (0, 1, 0))


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_another_mode_ends_it_with_what_there_was(mode: Any) -> None:
    task = reported()
    task.run("default", "F" * 20)
    task.policy = Policy(operations=Operations(mode=mode))
    facts = task.run("default", "F")
    [fact] = task.stated(m.Hindsight)
    assert (fact.finding, fact.outcomes) == ("right", 21)
    assert any(isinstance(one, m.RollbackEvent) and one.enforced for one in facts) == (mode == "enforce")
    assert (task.row.active, task.row.watched) == ("steady" if mode == "enforce" else "default", None)


def test_a_level_that_a_person_accepts_ends_it_with_what_there_was() -> None:
    task = reported("SF")
    task.run("default", "SF" * 10)
    assert task.order(m.AcceptLevel).outcome == "applied"
    [fact] = task.stated(m.Hindsight)
    assert (fact.finding, fact.outcomes) == ("right", 20)
    assert "20 outcomes until its level was accepted" in fact.reasoning


def test_a_second_collapse_in_the_same_activation_is_reported_and_judged_again() -> None:
    task = reported()
    task.run("default", "F" * 60)
    assert len(task.stated(m.RollbackEvent)) == 1, (
        "while the variant stays degraded, its rollback is reported only once"
    )
    task.run("default", "S" * 60)
    task.run("default", "F" * 60)
    assert len(task.stated(m.RollbackEvent)) == 2
    assert found(task) == ["right", "right"]
    assert (the_card(task).right, the_card(task).outcomes) == (2, 100)


def test_scores_of_outcomes_before_the_report_do_not_count_as_what_happened_next() -> None:
    """Late scores amend lifetimes, from which the outcomes since the report are computed."""
    task = Task(SHADOW)
    task.run("default", "S" * 40)
    task.run("steady", GOOD, variant_source="explore")
    before = [an_invocation("default", "failure", invocation_id=f"early-{i}", reward=-1.0) for i in range(3)]
    task.take(*before)
    until_reported(task, "F")
    task.take(*[feedback(one.invocation_id, reward=1.0) for one in before])
    task.run("default", "F" * 50)
    [fact] = task.stated(m.Hindsight)
    assert "reward -1.000 against 0.800" in fact.reasoning


def test_scores_of_the_target_before_the_report_do_not_count_as_its_outcomes_meanwhile() -> None:
    task = Task(SHADOW)
    task.run("default", "S" * 40)
    before = [an_invocation("steady", "success", invocation_id=f"s-{i}", variant_source="explore") for i in range(40)]
    task.take(*before)
    until_reported(task, "F")
    task.take(*[feedback(one.invocation_id, reward=-1.0) for one in before[20:]])
    task.run("steady", "S" * 10, variant_source="explore")
    task.run("default", "F" * 50)
    [fact] = task.stated(m.Hindsight)
    assert (fact.finding, fact.compared_with) == ("right", "outcomes")
    assert "reward -1.000 against 1.000" in fact.reasoning


def test_scores_of_a_third_variant_change_nothing_that_is_compared() -> None:
    task = Task(SHADOW)
    task.run("default", "S" * 40)
    task.run("steady", GOOD, variant_source="explore")
    task.take(an_invocation("third", "success", invocation_id="third-1", variant_source="explore"))
    until_reported(task, "F")
    watched = msgspec.json.encode(task.row.watched)
    task.take(feedback("third-1", reward=-1.0))
    assert msgspec.json.encode(task.row.watched) == watched


def test_scores_of_outcomes_after_the_report_count() -> None:
    task = reported()
    after = [an_invocation("default", "failure", invocation_id=f"next-{i}") for i in range(50)]
    task.take(*after[:49])
    task.take(*[feedback(one.invocation_id, reward=0.0) for one in after[39:49]])
    task.take(after[49])
    [fact] = task.stated(m.Hindsight)
    assert "reward -0.800 against" in fact.reasoning


def test_other_thresholds_begin_a_new_score_and_other_settings_do_not() -> None:
    task = reported()
    task.run("default", "F" * 50 + "S" * 60)
    task.policy = msgspec.structs.replace(SHADOW, operations=Operations(mode="shadow", exploration=0.05))
    task.run("default", "S" * 30)
    assert the_card(task).right == 1
    task.policy = msgspec.structs.replace(SHADOW, rollback=Rollback(confidence=1.0))
    task.run("default", "S" * 30)
    assert task.stated(m.TaskSnapshot)[-1].scorecard is None
    task.run("default", "F" * 80)
    assert (the_card(task).right, len(found(task))) == (1, 2)


@pytest.mark.parametrize(("metric", "words"), [("latency", "latency"), ("", "no metric")])
def test_a_rollback_because_of_a_metric_of_an_added_detector_stays_open(metric: str, words: str) -> None:
    task = reported()
    task.run("default", "F" * 49)
    row = task.row
    assert row.watched is not None
    row.watched.metric = metric
    task.run("default", "F")
    [fact] = task.stated(m.Hindsight)
    assert (fact.finding, fact.reasoning) == ("open", f"it was because of {words}, by which variants are not compared")


def test_a_target_that_promised_nothing_is_expected_to_have_no_bad_outcomes() -> None:
    """A rollback because of an added metric may choose a target whose level a person has just accepted."""
    task = reported()
    assert task.row.watched is not None
    task.row.watched.metric, task.row.watched.promised = "latency", Sums()
    task.run("default", "F" * 50)
    [fact] = task.stated(m.Hindsight)
    assert (fact.finding, fact.bad, fact.bad_of_target) == ("open", 50, 0.0)


@pytest.mark.parametrize(("n", "finding"), [(19, "right"), (20, "wrong")])
def test_a_baseline_counts_from_as_many_outcomes_as_a_verdict_needs(n: int, finding: str) -> None:
    task = reported()
    assert task.row.watched is not None
    task.row.watched.baseline = Sums(n, 0, 0, -n * MICRO, n * MICRO)
    task.run("default", "F" * 50)
    [fact] = task.stated(m.Hindsight)
    assert fact.finding == finding
    assert ("delivered no less than its baseline" in fact.reasoning) is (finding == "wrong")


def test_what_happened_next_includes_only_its_own_errors() -> None:
    task = Task(SHADOW)
    task.run("default", "S" * 39)
    task.run("default", "S", error_count=1)
    task.run("steady", GOOD, variant_source="explore")
    until_reported(task, "F")
    task.run("default", "F" * 45)
    task.run("default", "F" * 5, error_count=1)
    [fact] = task.stated(m.Hindsight)
    assert fact.reasoning.endswith("errors 10.0% against 0.0%")


def test_a_variant_that_never_worked_is_compared_with_the_target_alone() -> None:
    task = Task(SHADOW)
    task.run("steady", GOOD, variant_source="explore")
    task.run("default", "F" * 20)
    assert len(task.stated(m.RollbackEvent)) == 1
    task.run("default", "F" * 50)
    assert found(task) == ["right"]


def test_a_window_longer_than_fifty_outcomes_is_waited_for() -> None:
    wide = Degradation(lookback_window=80, min_recent=40, min_baseline=40)
    task = Task(msgspec.structs.replace(SHADOW, degradation=wide))
    task.run("default", "S" * 100)
    task.run("steady", GOOD, variant_source="explore")
    task.run("default", "F" * 20)
    since = task.row.watched
    assert since is not None
    task.run("default", "F" * (79 - (task.variant("default").life.n - since.started.n)))
    assert not found(task)
    task.run("default", "F")
    assert [fact.outcomes for fact in task.stated(m.Hindsight)] == [80]


def test_a_small_difference_may_be_chance_and_stays_open() -> None:
    strict = Policy(
        degradation=Degradation(clean_verdicts=1_000),
        operations=Operations(mode="shadow"),
        rollback=Rollback(confidence=2.0),
    )
    task = reported(policy=strict)
    task.run("default", ("SSSSF" * 10)[:49] + "F")
    [fact] = task.stated(m.Hindsight)
    assert fact.finding == "open"
    assert "may be chance" in fact.reasoning
    assert (the_card(task).open, the_card(task).avoidable, the_card(task).caused) == (1, 0, 0)


def test_a_variant_that_was_never_much_better_has_not_clearly_lost_anything() -> None:
    """The target is far better, but the active variant is not degraded: a promotion has been due for a long time."""
    task = Task(msgspec.structs.replace(SHADOW, degradation=Degradation(clean_verdicts=1_000)))
    task.run("default", "SSSSF" * 20)
    task.run("steady", "S" * 60, variant_source="explore")
    until_reported(task, "F")
    since = task.row.watched
    assert since is not None
    rate = Fraction(since.baseline.successes, since.baseline.n)
    successes = floor(rate * 50)
    task.run("default", "F" * (50 - successes) + "S" * successes)
    [fact] = task.stated(m.Hindsight)
    assert (fact.finding, fact.bad) == ("open", 50 - successes)
    assert "may be chance" in fact.reasoning


def test_a_target_that_is_hardly_better_is_no_clear_gain_however_deep_the_fall() -> None:
    task = Task(SHADOW)
    task.run("default", "S" * 60)
    task.run("steady", "SSSF" * 20, variant_source="explore")
    until_reported(task, "F")
    task.run("default", "SSSF" * 12 + "FF")
    [fact] = task.stated(m.Hindsight)
    assert (fact.finding, fact.outcomes, fact.bad, fact.bad_of_target) == ("open", 50, 14, 12.5)
    assert (fact.avoidable, fact.caused) == (0, 0)


def test_a_rollback_that_was_right_for_its_rewards_may_still_have_cost_successes() -> None:
    task = Task(SHADOW)
    task.run("default", "S" * 40)
    task.run("steady", "S" * 39 + "F", variant_source="explore")
    until_reported(task, "S", reward=0.1)
    task.run("default", "S" * 49 + "F", reward=0.1)
    [fact] = task.stated(m.Hindsight)
    assert (fact.finding, fact.bad, fact.bad_of_target) == ("right", 1, 1.25)
    assert (fact.avoidable, fact.caused, the_card(task).caused) == (0, 1, 1)


def test_what_is_open_neither_avoids_nor_causes_anything() -> None:
    task = reported()
    task.run("default", "S" * 9)
    task.order(m.ActivateVariant, variant_id="steady")
    [fact] = task.stated(m.Hindsight)
    assert (fact.finding, fact.bad, fact.bad_of_target, fact.avoidable, fact.caused) == ("open", 0, 0.9, 0, 0)


def test_a_recovery_long_after_a_level_was_accepted_is_a_recovery() -> None:
    task = reported("SF")
    task.run("default", "SF" * 10)
    task.order(m.AcceptLevel)
    task.run("default", "SF" * 30)
    task.run("default", "F" * 12)
    task.run("default", "S" * 60)
    assert len(task.stated(m.RollbackEvent)) == 2
    assert "recovered by itself within" in task.stated(m.Hindsight)[-1].reasoning


def test_the_snapshot_shows_what_is_being_judged() -> None:
    task = reported()
    task.run("default", "F" * 12)
    task.order(m.PinVariant)
    card = the_card(task)
    assert (card.watched, card.watched_outcomes, card.outcomes_needed) == (
        task.stated(m.RollbackEvent)[-1].rollback_id,
        12,
        50,
    )
    assert card.judged == 0


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_nothing_is_watched_in_other_modes(mode: Any) -> None:
    task = Task(Policy(operations=Operations(mode=mode)))
    task.run("default", "S" * 40)
    task.run("steady", GOOD, variant_source="explore")
    task.run("default", "F" * 30)
    assert (task.row.watched, task.row.card) == (None, None)


def test_a_target_that_was_forgotten_is_judged_by_its_promise() -> None:
    task = reported()
    del task.row.variants["steady"]
    task.run("default", "F" * 50)
    [fact] = task.stated(m.Hindsight)
    assert (fact.finding, fact.compared_with) == ("right", "promise")


@pytest.mark.parametrize(
    ("successes", "errors", "compared_with"),
    [
        (10, 0, "outcomes"),
        (0, 10, "outcomes"),
        (-1, 0, "promise"),
        (11, 0, "promise"),
        (0, -1, "promise"),
        (0, 11, "promise"),
    ],
)
def test_a_target_that_was_forgotten_and_came_back_is_judged_by_its_promise_where_its_outcomes_do_not_fit(
    successes: int, errors: int, compared_with: str
) -> None:
    task = reported()
    life, watched = task.variant("steady").life, task.row.watched
    assert watched is not None
    watched.target_started = Sums(
        life.n - 10, life.successes - successes, life.errors - errors, life.reward, life.squares
    )
    task.run("default", "F" * 50)
    assert [fact.compared_with for fact in task.stated(m.Hindsight)] == [compared_with]


def test_one_outcome_is_not_called_outcomes() -> None:
    task = reported()
    task.run("default", "F")
    task.order(m.ActivateVariant, variant_id="steady")
    [fact] = task.stated(m.Hindsight)
    assert fact.reasoning == "default had only 1 outcome until steady became active, and 10 are needed"


def test_a_watched_variant_that_is_unknown_leaves_its_rollback_open_and_counts_nothing() -> None:
    task = reported()
    watched = task.row.watched
    assert watched is not None
    turn = Turn(task.row, Context(0, task.offset, task.now, 0, "0" * 16), SHADOW)
    del task.row.variants["default"]
    assert look_back(turn) == [LookedBack(watched, "open", "the variant is no longer known", 0, 0, 0, False, 0, 0)]


def test_looking_back_too_early_says_nothing() -> None:
    task = reported()
    turn = Turn(task.row, Context(0, task.offset, task.now, 0, "0" * 16), SHADOW)
    before = encode_row(task.row)
    assert look_back(turn) == ()
    assert encode_row(task.row) == before


# -- rows --------------------------------------------------------------------------------------------
def test_a_row_keeps_what_is_watched_and_the_score() -> None:
    task = reported()
    task.run("default", "F" * 50 + "S" * 60 + "F" * 20)
    assert task.row.watched is not None
    row = decode_row(encode_row(task.row))
    assert (row.watched, row.card) == (task.row.watched, task.row.card)


def test_a_row_of_an_older_engine_has_no_score() -> None:
    fields = msgspec.msgpack.decode(encode_row(reported().row))
    row = decode_row(msgspec.msgpack.encode(fields[: TaskRow.__struct_fields__.index("watched")]))
    assert (row.watched, row.card, row.latch) == (None, None, True)


# -- an oracle with whole histories and fractions ----------------------------------------------------
class Watch(NamedTuple):
    """A reported rollback, with the histories at that time."""

    event: m.RollbackEvent
    baseline: list[Outcome]
    promised: list[Outcome]


class Book:
    """Judges reported rollbacks from whole histories; shares no code with the engine."""

    def __init__(self) -> None:
        self.histories: dict[str, list[Outcome]] = {}
        self.watch: Watch | None = None
        self.expected: list[tuple[str, int, int, int]] = []
        self.model = Model()

    def take(self, message: Any, facts: list[Any], mode: str) -> None:
        if isinstance(message, m.Invocation):
            error = message.status == "error" or message.error_count > 0
            outcome = Outcome(reward(message), message.status == "success", error, True)
            self.histories.setdefault(message.variant_id, []).append(outcome)
        for fact in facts:
            if isinstance(fact, m.RollbackEvent) and not fact.enforced:
                assert self.watch is None
                self.watch = Watch(fact, list(self.histories[fact.from_variant]), list(self.histories[fact.to_variant]))
        if self.watch is not None:
            self._settle(facts, mode)

    def _settle(self, facts: list[Any], mode: str) -> None:
        assert self.watch is not None
        event, baseline, promised = self.watch
        after = self.histories[event.from_variant][len(baseline) :]
        meanwhile = self.histories[event.to_variant][len(promised) :]
        over = mode != "shadow" or len(after) >= 50
        over |= any(isinstance(fact, m.Activation) and fact.enforced for fact in facts)
        over |= any(
            isinstance(f, m.CommandResult) and (f.command, f.outcome) == ("AcceptLevel", "applied") for f in facts
        )
        recovered = any(
            isinstance(fact, m.DegradationAlert) and (fact.variant_id, fact.state) == (event.from_variant, "recovered")
            for fact in facts
        )
        # A change of the active variant or of the mode counts before a recovery in the same step.
        if not over and not recovered:
            return
        self.watch = None
        recovered &= mode == "shadow"
        target = meanwhile if len(meanwhile) >= 10 else promised
        bad, would = sum(not o.success for o in after), _bad_share(target) * len(after)
        fell = [] if event.evidence.absolute else baseline
        finding = "wrong" if recovered else self._finding(after, target, fell)
        gain = bad - would
        avoidable = floor(gain) if finding == "right" and gain > 0 else 0
        caused = -floor(gain) if finding != "open" and gain < 0 else 0
        self.expected.append((finding, len(after), avoidable, caused))

    def _finding(self, after: list[Outcome], target: list[Outcome], baseline: list[Outcome]) -> str:
        if len(after) < 10:
            return "open"
        others = [target, baseline] if len(baseline) >= 20 else [target]
        now, *rest = ([Estimate.of(each, metric) for metric in METRICS] for each in (after, *others))
        better = [[self.model._is_better(each, now, z) for each in rest] for z in (Fraction(0), exact(0.5))]
        return "wrong" if not all(better[0]) else "right" if all(better[1]) else "open"


def _bad_share(outcomes: list[Outcome]) -> Fraction:
    return Fraction(sum(not o.success for o in outcomes), len(outcomes))


letters = st.sampled_from(["S" * 12, "F" * 12, "E" * 7, "SF" * 8, "SSSSF" * 3, "SSSSSSSSSF" * 2])
qualities = st.sampled_from([None, None, 0.1, 0.8])
actions = st.one_of(
    st.tuples(st.sampled_from(["active", "active", "active", "steady", "other"]), letters, qualities),
    st.tuples(
        st.sampled_from(["activate", "accept", "enforce", "shadow", "shadow"]), st.sampled_from(["steady", "other"])
    ),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(actions, min_size=3, max_size=25))
def test_every_judgement_is_that_of_an_oracle_that_keeps_whole_histories_in_fractions(story: list[Any]) -> None:
    task, book = Task(SHADOW), Book()

    def take(messages: list[Any]) -> None:
        for message in messages:
            book.take(message, task.take(message), task.policy.operations.mode)

    # No variant is a newcomer when it becomes active, so each has its own baseline, the guide's lifetime.
    take(list(invocations("default", "S" * 30)))
    take(list(invocations("steady", GOOD, variant_source="explore")))
    take(list(invocations("other", "SSSF" * 10, variant_source="explore")))
    accepted = False
    for name, *rest in story:
        if name in {"enforce", "shadow"}:
            task.policy = Policy(operations=Operations(mode=name))
        elif name == "activate":
            take([a_command(m.ActivateVariant, variant_id=rest[0])])
        elif name == "accept":
            accepted = True
            take([a_command(m.AcceptLevel)])
        else:
            variant = task.row.active if name == "active" else name
            source = None if variant == task.row.active else "explore"
            take(list(invocations(variant, rest[0], quality=rest[1], variant_source=source)))
        if accepted:
            break  # an accepted level is the baseline from now on, which this oracle does not follow
    assume(not book.model.ambiguous)
    told = [(f.finding, f.outcomes, f.avoidable, f.caused) for f in task.stated(m.Hindsight)]
    assert told == book.expected
    card = task.row.card
    if card is not None:
        judged = [each for each in told if each[0] != "open"]
        assert (card.right, card.wrong, card.open) == tuple(
            sum(each[0] == what for each in told) for what in ("right", "wrong", "open")
        )
        assert (card.outcomes, card.avoidable, card.caused) == tuple(sum(each[i] for each in judged) for i in (1, 2, 3))
    assert (task.row.watched is None) == (book.watch is None)


def test_the_stories_of_the_oracle_reach_every_finding() -> None:
    met: set[str] = set()

    @settings(deadline=None, max_examples=200, derandomize=True, database=None)
    @given(st.lists(st.tuples(st.sampled_from(["active", "activate"]), letters), min_size=3, max_size=20))
    def look_around(story: list[Any]) -> None:
        task = reported()
        for name, outcomes in story:
            if name == "active":
                task.run(task.row.active or "", outcomes)
            elif task.row.active == "default":
                task.order(m.ActivateVariant, variant_id="steady")
        met.update(found(task))

    look_around()
    assert met == {"right", "wrong", "open"}
