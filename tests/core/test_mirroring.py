"""The label of a prompt store follows the active variant, never goes back and forth, and is a person's to move."""

from __future__ import annotations

from typing import Any

import pytest
from builders import AGENT
from hypothesis import given, settings
from hypothesis import strategies as st

from core.mirrored import KEY, REFS, START, STRANGE, World, a_catalogue, a_want, an_active
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text, to_text
from crl_stream.core.mirroring import store as store_state
from crl_stream.core.mirroring.label import Seen, messages_of, published, refuse_move, step
from crl_stream.core.mirroring.refs import PromptRef, parse_ref, write_ref
from crl_stream.core.mirroring.wants import wants

# -- interleavings ---------------------------------------------------------------------------------
versions = st.sampled_from(["1", "2", "3", STRANGE, None])
events = st.lists(
    st.one_of(
        st.tuples(st.just("person"), versions),
        st.tuples(st.just("rollback"), st.sampled_from(["v1", "v2", "v3"])),
        st.tuples(st.sampled_from(["answer", "follow", "kill", "arrive", "late", "lost"]), st.none()),
        st.tuples(st.just("work"), st.integers(1, 12)),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 11.0, 700.0])),
    ),
    max_size=40,
)


def happen(world: World, what: str, which: Any) -> None:
    if what == "person":
        world.person(which)
    elif what == "rollback":
        world.rollback(which)
    elif what in {"late", "lost"}:
        world.failing = what
    elif what == "wait":
        world.now += round(which * 1_000)
    elif what == "work":
        for _ in range(which):
            world.work()
    else:
        getattr(world, what)()


def calm(world: World) -> None:
    """Let everything arrive and be answered, and the mirror look often enough."""
    world.failing = ""
    for _ in range(3):
        while world.late:
            world.arrive()
        for _ in range(4):
            world.round(seconds=11)
            world.answer()


@settings(max_examples=1_500)
@given(events, versions)
def test_whatever_happens_the_label_comes_to_rest_at_the_active_variant_or_with_an_open_alert(
    happening: list[tuple[str, Any]], label: str | None
) -> None:
    world = World(label)
    people = epochs = 0
    for what, which in happening:
        before = world.active.epoch, world.touched
        happen(world, what, which)
        epochs += what == "rollback" and world.active.epoch > before[0]
        people += world.touched - before[1]
    calm(world)
    at_rest = world.activity
    for _ in range(5):
        world.round(seconds=100)
        world.answer()
    assert world.activity == at_rest, "nothing happens any more"

    record = world.record
    assert record is not None
    if record.conflict is None:
        assert world.label == a_want(world.active).version == record.left
        assert (record.epoch, world.open_alerts) == (world.active.epoch, set())
    else:
        assert world.label == record.conflict.found != a_want(world.active).version
        assert world.open_alerts == {record.conflict.alert_id}
    # A move that arrives late looks like a person's, unless it arrives soon.
    late = sum(what == "late" for what, _ in happening)
    assert len(world.commands) <= people + late, "a person's move is asked for once"
    assert len(world.receipts) == len({receipt.epoch for receipt in world.receipts.values()})


@settings(max_examples=500)
@given(st.lists(st.sampled_from(["v1", "v2", "v3"]), max_size=8), st.lists(st.integers(0, 14), max_size=12))
def test_without_people_every_change_is_followed_and_nobody_is_alerted(changes: list[str], kills: list[int]) -> None:
    world = World()
    world.round()
    for variant in changes:
        world.rollback(variant)
        if kills:
            world.follow()
            for _ in range(kills.pop()):
                world.work()
            world.kill()
    calm(world)
    assert world.label == a_want(world.active).version
    assert (world.alerts, world.commands) == ({}, {})
    assert world.moves <= 2 * (world.active.epoch - 1), "a kill may repeat a move, but nothing else does"
    if world.active.epoch > 1:
        assert world.active.epoch in {receipt.epoch for receipt in world.receipts.values()}


@settings(max_examples=500)
@given(st.lists(st.tuples(versions, st.sampled_from(["v1", "v2", "v3", None])), max_size=10))
def test_a_choice_that_no_variant_stands_for_is_never_overwritten(moves: list[tuple[str | None, str | None]]) -> None:
    world = World()
    world.round()
    for version, variant in moves:
        world.person(version)
        world.round(seconds=20)
        if variant is not None:
            world.rollback(variant)
        world.round(seconds=20)
        if version == STRANGE:
            assert world.label == STRANGE
        world.answer()
        world.round(seconds=20)


# -- one after another -----------------------------------------------------------------------------
def test_a_rollback_moves_the_label_and_gives_one_receipt() -> None:
    world = World()
    world.round()
    assert (world.moves, world.receipts) == (0, {}), "the label was right when the mirror began"
    world.now += 60_000
    world.rollback("v2")
    world.round(seconds=1.5)
    world.round(seconds=1)
    assert (world.label, world.moves) == ("2", 1)
    [receipt] = world.receipts.values()
    assert (receipt.runtime_id, receipt.variant_id, receipt.epoch) == ("mirror:mlflow", "v2", 2)
    assert receipt.milliseconds == 1_500
    assert receipt.position == world.active.position


def test_a_missing_label_is_created_and_a_foreign_one_is_left() -> None:
    world = World(label=None)
    world.round()
    assert (world.label, len(world.receipts), world.alerts) == ("1", 1, {})
    other = World(label="3")
    other.round()
    other.round()
    [alert] = other.alerts.values()
    assert "it pointed to version 3 of refund before the mirror began" in alert.text
    assert (other.label, other.moves, other.commands) == ("3", 0, {})


def test_a_persons_move_becomes_a_command_with_the_epoch_that_the_person_saw() -> None:
    world = World()
    world.round()
    world.person("3")
    world.names = ("alice",)
    world.round(seconds=20)
    [command] = world.commands.values()
    assert (command.variant_id, command.expected_epoch, command.actor) == ("v3", 1, "alice (by mlflow)")
    assert command.reason == "the label production was moved to prompts:/refund/3"
    world.round(seconds=20)
    assert len(world.commands) == 1
    world.answer()
    world.round(seconds=20)
    assert (world.active.variant_id, world.label, world.moves, world.alerts) == ("v3", "3", 0, {})
    assert [receipt.epoch for receipt in world.receipts.values()] == [2]


def test_a_name_counts_once_at_a_version_and_again_after_the_person_has_named_another() -> None:
    world = World()
    world.round()
    actors = []
    for version, names in (("2", ("alice",)), ("1", ()), ("2", ("alice",)), ("3", ("alice",)), ("2", ("alice",))):
        world.person(version)
        world.names = names
        for _ in range(2):
            world.round(seconds=20)
            world.answer()
        actors.append(list(world.commands.values())[-1].actor)
    assert actors == ["alice (by mlflow)", "mlflow", "mlflow", "alice (by mlflow)", "alice (by mlflow)"]


def test_a_move_and_a_rollback_at_the_same_time_are_refused_by_the_epoch_and_then_explained() -> None:
    world = World()
    world.round()
    world.person("3")
    world.round(seconds=20)
    world.rollback("v2")
    world.answer()
    world.round(seconds=1)
    [alert] = world.alerts.values()
    assert "v3 was not activated: the epoch is 2, not 1" in alert.text
    assert (world.active.variant_id, world.label, world.moves) == ("v2", "3", 0)
    # The person moves it where it belongs: the alert ends, and the mirror follows again.
    world.person("2")
    world.round(seconds=1)
    assert world.open_alerts == set()
    world.rollback("v1")
    world.round(seconds=1)
    assert world.label == "1"


def test_a_move_that_was_applied_and_rolled_back_before_the_mirror_looked_is_followed() -> None:
    world = World()
    world.round()
    world.person("3")
    world.round(seconds=20)
    world.answer()
    world.rollback("v1")
    world.round(seconds=1)
    world.round(seconds=1)
    assert (world.label, world.alerts) == ("1", {})


def test_a_move_is_announced_once_however_often_it_must_be_repeated() -> None:
    want = a_want(an_active("v2", 2))
    before = step(None, a_want(an_active("v1", 1)), Seen("1"), START).record
    announced = step(before, want, Seen("1"), START + 20_000)
    assert announced.move == "2"
    assert step(announced.record, want, Seen("1"), START + 30_000) == announced, "a process that takes over repeats it"


def test_a_move_that_was_overtaken_is_announced_again_when_it_is_wanted_again() -> None:
    world = World()
    world.round()
    world.rollback("v2")
    world.failing = "lost"
    world.round()
    world.rollback("v1")
    world.round()
    assert world.record is not None and world.record.moving is not None and world.record.moving.overtaken
    again = step(world.record, a_want(an_active("v2", 4)), Seen("1"), world.now + 60_000)
    assert again.move == "2" and again.record is not None and again.record.moving is not None
    assert (again.record.moving.overtaken, from_text(again.record.moving.at)) == (False, world.now + 60_000)


@pytest.mark.parametrize("ahead", [0, 5_000])
def test_a_clock_that_is_behind_the_monitors_gives_a_receipt_of_no_time(ahead: int) -> None:
    world = World()
    world.round()
    world.active = an_active("v2", 2, since=to_text(world.now + ahead))
    world.round()
    world.round()
    assert [receipt.milliseconds for receipt in world.receipts.values()] == [0]


def test_a_conflict_ends_when_the_label_is_back_and_what_was_there_before_the_last_change_is_still_known() -> None:
    world = World()
    world.round()
    world.rollback("v2")
    world.round()
    world.person(STRANGE)
    world.round(seconds=20)
    assert len(world.open_alerts) == 1
    world.person("2")
    world.round(seconds=20)
    assert (world.open_alerts, len(world.receipts)) == (set(), 1)
    world.label = "1"  # a replica that is far behind
    world.round(seconds=5)
    assert (world.commands, world.open_alerts) == ({}, set())


def test_the_correction_of_a_late_move_is_repeated_if_it_is_lost() -> None:
    world = World()
    world.round()
    world.rollback("v2")
    world.failing = "late"
    world.round()
    world.rollback("v1")
    world.round()
    world.arrive()
    world.failing = "lost"
    world.round(seconds=1)
    assert world.label == "2"
    world.round(seconds=20)
    assert (world.label, world.commands, world.alerts) == ("1", {}, {})


def test_a_label_that_moved_while_it_could_not_follow_is_left_alone() -> None:
    want = a_want(an_active("v1", 1))
    record = step(None, want, Seen("1"), START).record
    told = step(record, want._replace(version=None, problem="two tasks name it"), Seen("1"), START).record
    after = step(told, want, Seen("3"), START + 20_000).record
    assert after is not None and after.alert is not None and after.command is None
    assert "it pointed to version 3 of refund although the mirror had left version 1 of refund" in after.alert.text


def asking(version: str = "3") -> World:
    """Return a world in which a person's move was turned into a command."""
    world = World()
    world.round()
    world.person(version)
    world.round(seconds=20)
    assert len(world.commands) == 1
    return world


def test_a_second_move_of_a_person_is_asked_for_after_the_first_was_applied() -> None:
    world = asking("3")
    world.answer()
    world.person("2")
    world.round(seconds=20)
    assert [(command.variant_id, command.expected_epoch) for command in world.commands.values()] == [
        ("v3", 1),
        ("v2", 2),
    ]
    world.answer()
    world.round(seconds=20)
    assert (world.active.variant_id, world.label, world.alerts) == ("v2", "2", {})


def test_a_second_move_is_asked_for_if_the_first_was_refused() -> None:
    world = asking("3")
    world.refusing = "the task is held"
    world.person("2")
    world.answer()
    world.round(seconds=20)
    assert [command.variant_id for command in world.commands.values()] == ["v3", "v2"]
    assert world.alerts == {}


def test_a_second_move_that_did_not_see_a_change_by_others_is_left_alone() -> None:
    world = asking("3")
    world.rollback("v3")
    world.person("2")
    world.round(seconds=20)
    [alert] = world.alerts.values()
    assert "it pointed to version 2 of refund although the mirror had left version 1 of refund" in alert.text
    assert "v3 (version 3 of refund) is active" in alert.text
    assert len(world.commands) == 1


def test_a_change_by_others_ends_the_wait_for_an_answer() -> None:
    world = asking("3")
    world.rollback("v2")
    world.round(seconds=1)
    [alert] = world.alerts.values()
    assert "v3 was not activated: another variant became active first" in alert.text


def test_a_refused_move_to_what_became_active_by_other_means_is_right() -> None:
    world = asking("3")
    world.rollback("v3")
    world.answer()
    world.round(seconds=1)
    world.round(seconds=1)
    assert (world.label, world.alerts, world.moves) == ("3", {}, 0)
    assert [receipt.epoch for receipt in world.receipts.values()] == [2]


def test_an_answer_that_comes_before_the_change_is_waited_for() -> None:
    world = asking("3")
    world.answer()
    [answer] = world.answers.values()
    assert step(world.record, a_want(an_active("v1", 1)), Seen("3"), world.now, answer) == (world.record, None)


def test_a_move_that_was_applied_but_whose_label_cannot_follow_is_not_settled_in_its_epoch() -> None:
    world = asking("3")
    world.answer()
    [answer] = world.answers.values()
    problem = a_want(world.active)._replace(version=None, problem="its variants name several prompts")
    after = step(world.record, problem, Seen("3"), world.now, answer).record
    assert after is not None and (after.epoch, after.left, after.asked) == (1, "3", None)
    told = step(after, problem, Seen("3"), world.now).record
    assert told is not None and told.conflict is not None and told.conflict.problem


def test_a_command_that_no_worker_answers_is_given_up_with_an_alert() -> None:
    world = World()
    world.round()
    world.person("3")
    world.round(seconds=20)
    world.round(seconds=600)
    assert world.alerts == {}
    world.round(seconds=61)
    [alert] = world.alerts.values()
    assert "v3 was not activated: no worker has answered" in alert.text


@pytest.mark.parametrize(("passed", "commands"), [(9_999, 0), (10_000, 1)])
def test_what_was_there_before_a_move_counts_as_a_persons_choice_after_ten_seconds(passed: int, commands: int) -> None:
    world = World()
    world.round()
    world.rollback("v2")
    world.round()
    world.label = "1"
    world.round(seconds=passed / 1_000)
    assert len(world.commands) == commands


@pytest.mark.parametrize(("passed", "commands"), [(9_999, 0), (10_000, 1)])
def test_a_move_of_our_own_counts_as_a_persons_choice_if_it_arrives_ten_seconds_late(
    passed: int, commands: int
) -> None:
    world = World()
    world.round()
    world.rollback("v2")
    world.failing = "late"
    world.round()
    world.rollback("v1")
    world.round(seconds=0)
    world.now += passed
    world.arrive()
    world.round()
    assert len(world.commands) == commands


def test_the_command_of_a_move_expires_after_ten_minutes_and_the_answer_is_waited_for_one_more() -> None:
    world = World()
    world.round()
    world.person("3")
    world.round(seconds=20)
    [command] = world.commands.values()
    assert from_text(str(command.expires_at)) - from_text(command.timestamp) == 600_000
    world.round(seconds=659.999)
    assert world.alerts == {}
    world.round(seconds=0.001)
    assert len(world.alerts) == 1


def test_of_many_people_a_bounded_number_of_names_is_kept() -> None:
    world = World()
    world.round()
    for number in range(12):
        world.person("3" if number % 2 else "2")
        world.names = tuple(f"person {number}.{one}" for one in range(10))
        for _ in range(2):
            world.round(seconds=20)
            world.answer()
        assert world.record is not None
        assert len(world.record.credited) <= 30, "the last twenty, and those who are named now"
    assert all(len(command.actor) <= 200 for command in world.commands.values())
    assert next(iter(world.commands.values())).actor.startswith("person 0.0 and person 0.1 and person 0.2")
    assert {"person 10.9", "person 11.0"} <= world.record.credited.keys()


def test_every_change_of_a_record_has_the_next_revision_and_its_messages_are_published_once() -> None:
    want = a_want(an_active("v1", 1))
    first = step(None, want, Seen("2"), START).record
    assert first is not None and first.revision == 1
    [alert] = messages_of(first)
    assert isinstance(alert, m.Alert)
    done = published(first)
    assert (done.revision, messages_of(done)) == (2, [])
    refused = refuse_move(done, want, Seen("2"), "no such version", START)
    assert refused.revision == 3
    assert refuse_move(None, want, Seen(None), "no answer", START, problem=True).revision == 1
    other = step(refused, a_want(an_active("v1", 1))._replace(label="staging"), Seen("1"), START).record
    assert other is not None and (other.revision, other.label, other.conflict) == (4, "staging", None)


def test_what_the_store_still_shows_just_after_a_move_is_no_persons_move() -> None:
    world = World()
    world.round()
    world.rollback("v2")
    world.round()
    world.label = "1"  # a replica that is behind
    world.round(seconds=5)
    assert (world.commands, world.alerts, world.moves) == ({}, {}, 1)
    world.label = "2"
    world.round(seconds=20)
    assert (world.commands, world.alerts, world.moves) == ({}, {}, 1)


def test_a_move_of_our_own_that_arrives_late_is_no_persons_move() -> None:
    world = World()
    world.round()
    world.rollback("v2")
    world.failing = "late"
    world.round()
    world.rollback("v1")
    world.round(seconds=1)
    world.arrive()
    world.round(seconds=1)
    world.round(seconds=1)
    assert (world.label, world.commands, world.alerts) == ("1", {}, {})


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (STRANGE, "which no variant of the task is"),
        (None, "a person removed it"),
        ("1", "more than one variant is: a, b"),
    ],
)
def test_a_move_that_names_no_variant_is_explained(version: str | None, said: str) -> None:
    refs: dict[str, str | None] = {"a": "prompts:/refund/1", "b": "prompts:/refund/1", "c": "prompts:/refund/2"}
    want = a_want(an_active("c", 1), refs)
    record = step(None, want, Seen("2"), START).record
    after = step(record, want, Seen(version), START + 20_000).record
    assert after is not None and after.alert is not None and after.command is None
    assert said in after.alert.text
    assert step(after, want, Seen(version), START + 40_000).record is after


def test_a_version_that_the_store_does_not_have_is_told_once_in_an_epoch() -> None:
    want = a_want(an_active("v1", 1))
    record = step(None, want, Seen(None), START).record
    refused = refuse_move(record, want, Seen(None), "no such version", START)
    assert refused.alert is not None and "no such version" in refused.alert.text
    assert step(refused, want, Seen(None), START + 50_000) == (refused, None)
    assert refuse_move(refused, want, Seen(None), "no such version", START + 60_000) is refused
    later = a_want(an_active("v2", 2))
    assert step(refused, later, Seen(None), START + 70_000).move == "2"


def test_a_reader_that_is_behind_an_earlier_process_does_nothing() -> None:
    world = World()
    world.round()
    world.rollback("v2")
    world.round()
    behind = a_want(an_active("v1", 1))
    assert step(world.record, behind, Seen("2"), world.now) == (world.record, None)


# -- which tasks are mirrored ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("ref", "found"),
    [
        ("langfuse:refund@12", PromptRef("langfuse", "refund", "12")),
        ("langfuse:support/refund@a@7", PromptRef("langfuse", "support/refund@a", "7")),
        ("prompts:/refund/12", PromptRef("mlflow", "refund", "12")),
        ("prompts:/refund@production", None),
        ("prompts:/refund/0", None),
        ("prompts:/a/b/1", None),
        ("langfuse:refund", None),
        ("langfuse:@3", None),
        ("langfuse:a\nb@3", None),
        ("6f1ed002ab5595859014ebf0951522d9", None),
        ("", None),
        (None, None),
    ],
)
def test_a_ref_names_a_version_of_a_prompt_or_nothing(ref: str | None, found: PromptRef | None) -> None:
    assert parse_ref(ref) == found
    if found is not None:
        assert write_ref(found) == ref


OTHER = TaskKey(AGENT, "other")


def wanted(refs: dict[str, str | None], others: dict[str, str | None] | None = None) -> Any:
    actives = {KEY: an_active("v1", 1), OTHER: an_active("v1", 1, task_type="other")}
    catalogues = {KEY: a_catalogue(refs)} | ({} if others is None else {OTHER: a_catalogue(others, OTHER)})
    return wants("mlflow", "production", actives, catalogues)


def test_tasks_without_refs_in_the_store_are_not_mirrored() -> None:
    assert wanted({"v1": "langfuse:refund@1", "v2": None, "v3": "6f1ed002"}) == {}
    assert wanted({"v2": "prompts:/refund/1"}) == {}, "the catalogue does not have the active variant yet"
    assert wants("mlflow", "production", {}, {KEY: a_catalogue(REFS)}) == {}, "no variant is active yet"
    want = wanted({"v1": None, "v2": "prompts:/refund/2"})[KEY]
    assert want.problem == "its active variant v1 has no ref there"
    assert step(None, want, Seen("1"), START) == (None, None), "nothing was ever mirrored, so no alert is due"


def test_a_prompt_of_two_tasks_is_left_alone_because_they_would_move_its_label_in_turn() -> None:
    found = wanted(REFS, {"v1": "prompts:/refund/7"})
    assert found[KEY].problem == f"variants of {AGENT}/other name the same prompt"
    assert found[OTHER].problem == f"variants of {KEY} name the same prompt"
    first = step(None, found[KEY], Seen("2"), START)
    assert first.move is None and first.record is not None and first.record.alert is not None
    assert step(first.record, found[KEY], Seen("3"), START) == (first.record, None), "people are told once"
    # The other task gives the prompt up.
    assert step(first.record, wanted(REFS)[KEY], Seen(None), START).move == "1"


def test_a_task_with_two_prompts_is_left_alone() -> None:
    assert (
        wanted({"v1": "prompts:/a/1", "v2": "prompts:/b/1"})[KEY].problem == "its variants name several prompts: a, b"
    )


def test_the_problem_names_up_to_three_prompts_and_counts_the_others() -> None:
    def problem(count: int) -> str:
        return str(wanted({f"v{n}": f"prompts:/p{n}/1" for n in range(1, count + 1)})[KEY].problem)

    assert problem(3) == "its variants name several prompts: p1, p2, p3"
    assert problem(5) == "its variants name several prompts: p1, p2, p3 and 2 more"


def test_what_is_wanted_of_a_label_is_the_version_of_the_active_variant_and_what_the_others_are() -> None:
    refs = REFS | {"w1": "prompts:/refund/1", "w0": "prompts:/refund/1", "x": "langfuse:refund@1", "y": None}
    want = a_want(an_active("v2", 4, incarnation=3), refs)
    assert (want.version, want.problem, want.without_ref, want.epoch) == ("2", "", False, (3, 4))
    assert want.variants == {"1": ("v1", "w0", "w1"), "2": ("v2",), "3": ("v3",)}
    assert (want.ref("2"), want.ref(None)) == ("version 2 of refund", "no version of refund")


def test_a_problem_of_several_prompts_or_tasks_is_told_even_before_the_label_was_mirrored_if_it_is_there() -> None:
    problem = wanted({"v1": "prompts:/a/1", "v2": "prompts:/b/1"})[KEY]
    assert step(None, problem, Seen(None), START) == (None, None), "there is no label that could be wrong"
    told = step(None, problem, Seen("1"), START).record
    assert told is not None and told.alert is not None and "several prompts" in told.alert.text
    assert not problem.without_ref
    assert not wanted({"v1": None, "v2": "prompts:/refund/2"}, {"v1": "prompts:/refund/7"})[KEY].without_ref


def test_an_active_variant_without_a_ref_leaves_the_label_until_the_next_one() -> None:
    refs = {**REFS, "v4": None}
    record = step(None, a_want(an_active("v1", 1), refs), Seen("1"), START).record
    silent = step(record, a_want(an_active("v4", 2), refs), Seen("1"), START)
    assert silent.move is None and silent.record is not None and silent.record.alert is not None
    assert "v4 has no ref there" in silent.record.alert.text
    assert step(silent.record, a_want(an_active("v2", 3), refs), Seen("1"), START).move == "2"


def test_a_retired_variant_is_not_what_a_person_chooses() -> None:
    catalogue = a_catalogue(REFS, v3="retired")
    want = wants("mlflow", "production", {KEY: an_active("v1", 1)}, {KEY: catalogue})[KEY]
    assert set(want.variants) == {"1", "2"}


# -- a store that does not answer --------------------------------------------------------------------
def test_people_are_told_once_that_a_store_does_not_answer_and_once_that_it_does() -> None:
    since, patience = START, 60_000
    early = store_state.silent(None, "langfuse", since, "no answer", START + 59_000, patience)
    assert early is None
    down = store_state.silent(None, "langfuse", since, "no answer", START + 60_000, patience)
    assert down is not None and down.alert is not None
    assert (down.alert.kind, down.alert.resolved) == ("mirror_unreachable", False)
    told = store_state.published(down)
    assert store_state.silent(told, "langfuse", since, "no answer", START + 900_000, patience) is told
    back = store_state.answers(told, START + 901_000)
    assert back is not None and back.alert is not None
    assert (back.alert.cause_id, back.alert.resolved) == (down.alert.alert_id, True)
    up = store_state.published(back)
    assert store_state.answers(up, START + 902_000) is up
    again = store_state.silent(up, "langfuse", START + 902_000, "no answer", START + 999_000, patience)
    assert again is not None and again.alert_id != down.alert_id
    assert [record.revision for record in (down, told, back, up, again)] == [1, 2, 3, 4, 5]
    assert (told.alert, up.alert, up.alert_id) == (None, None, None)
    assert (
        down.alert.action
        == "has not answered since 2025-11-19T14:30:00Z: no answer; labels follow when it answers again"
    )
    assert store_state.answers(None, START) is None


def test_the_same_fact_has_the_same_id_whoever_writes_it() -> None:
    first, second = World(), World()
    for world in (first, second):
        world.round()
        world.rollback("v2")
        world.round(seconds=1)
    assert first.receipts == second.receipts


def test_a_label_that_the_store_did_not_show_is_not_taken_for_a_persons_move_when_it_shows_it_again() -> None:
    world = World()
    world.round()
    hidden = refuse_move(world.record, a_want(an_active("v2", 2)), Seen(None), "no answer", START, problem=True)
    after = step(hidden, a_want(an_active("v2", 2)), Seen("1"), START + 60_000)
    assert after.move == "2"
    assert after.record is not None and after.record.command is None
