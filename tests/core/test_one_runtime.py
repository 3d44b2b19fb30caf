"""One runtime's share of a window is capped: alone, it neither rolls a fleet back nor promotes a variant."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import msgspec
import pytest
from builders import AGENT, AT, TASK, an_invocation
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import Runtime, TaskRow, Variant, decode_row, encode_row, new_row
from crl_stream.core.monitor.sources import free_mark, mark_of
from crl_stream.core.policy import Policy
from crl_stream.settings import load_settings

from .histories import histories
from .task import KEY, Task

PROFILES = {
    name: load_settings(environment={}, flags={"profile": name}).policies.default for name in ("guide", "production")
}
BOTH = pytest.mark.parametrize("profile", sorted(PROFILES))
HONEST = ["h1", "h2", "h3"]


def but(policy: Policy, **fields: Any) -> Policy:
    return msgspec.structs.replace(policy, rollback=msgspec.structs.replace(policy.rollback, **fields))


def live(task: Task, statuses: str, runtime: str | None, variant: str = "A", **fields: Any) -> list[Any]:
    return task.run(variant, statuses, **{"runtime_id": runtime, "active_epoch": max(task.row.epoch, 1)} | fields)


def a_fleet(policy: Policy, runtimes: list[Any] = HONEST, n: int = 120, **fields: Any) -> Task:
    """Build a task whose active variant A succeeds on all runtimes, and whose variant B is a proven target."""
    task = Task(policy)
    for _, runtime in zip(range(n), cycle(runtimes), strict=False):
        live(task, "S", runtime, **fields)
    for _, runtime in zip(range(40), cycle(runtimes), strict=False):
        live(task, "S", runtime, "B", variant_source="explore", **fields)
    return task


def rolled_back(task: Task) -> list[m.RollbackEvent]:
    return task.stated(m.RollbackEvent)


# -- forged failures -----------------------------------------------------------------------------------
@BOTH
@pytest.mark.parametrize("runtime", ["mallory", None, "h3"])
def test_forged_failures_from_one_source_do_not_roll_back_a_variant_that_others_find_healthy(
    profile: str, runtime: str | None
) -> None:
    task = a_fleet(PROFILES[profile], HONEST if runtime == "h3" else [*HONEST, "h4"])
    live(task, "E" * 60, runtime, error_count=5)
    assert rolled_back(task) == []
    assert task.row.active == "A"
    alert = task.alerts("one_runtime")[0]
    assert alert.severity == "critical"
    assert "degraded but not rolled back" in alert.text
    assert (f"runtime {runtime}" if runtime else "no known runtime_id") in alert.text
    assert "the other " in alert.text
    assert "runtimes: 0 of " in alert.text
    assert "crl activate backend-architect/api-design VARIANT" in alert.text
    assert alert.number is not None
    assert alert.limit == 0.5
    assert alert.number > 0.5


@BOTH
def test_forged_failures_mixed_with_healthy_traffic_do_not_roll_back(profile: str) -> None:
    task = a_fleet(PROFILES[profile])
    for _, honest in zip(range(400), cycle(HONEST), strict=False):
        live(task, "E", "mallory")
        live(task, "S", honest)
    assert rolled_back(task) == []
    assert task.alerts("one_runtime")


@BOTH
@pytest.mark.parametrize("runtime", ["mallory", None])
def test_forged_successes_do_not_promote_a_variant_that_no_second_runtime_has_tried(
    profile: str, runtime: str | None
) -> None:
    task = a_fleet(PROFILES[profile], quality=0.8, duration_seconds=60.0)
    live(task, "S" * 400, runtime, "evil", reward=1.0)
    live(task, "S" * 20, "h1", quality=0.8, duration_seconds=60.0)
    assert task.row.active == "A"
    whose = f"come from runtime {runtime}" if runtime else "have no known runtime_id"
    assert (
        task.snapshot("evil").not_applied == f"all 20 outcomes of its window {whose}; another runtime must try it too"
    )
    live(task, "S", "h2", "evil", reward=1.0, variant_source="explore")
    live(task, "S", "h1", quality=0.8, duration_seconds=60.0)
    begun = task.row.active if profile == "guide" else task.row.rollout and task.row.rollout.variant_id
    assert begun == "evil", "the variant may be promoted once a second runtime has tried it"


@BOTH
def test_where_outcomes_name_no_runtime_nothing_is_capped(profile: str) -> None:
    task = a_fleet(PROFILES[profile], [None])
    live(task, "E" * 20, "mallory")
    assert rolled_back(task)
    assert not task.alerts("one_runtime")


# -- one broken host ---------------------------------------------------------------------------------
@BOTH
def test_a_broken_host_with_nearly_all_the_traffic_does_not_roll_the_fleet_back(profile: str) -> None:
    task = a_fleet(PROFILES[profile])
    for at in range(600):
        live(task, "S" if at % 20 == 0 else "F", HONEST[at // 20 % 2] if at % 20 == 0 else "h3")
    assert rolled_back(task) == []


@BOTH
def test_the_alert_is_sent_once_then_repeated_and_ends_when_the_variant_recovers(profile: str) -> None:
    task = a_fleet(PROFILES[profile])
    live(task, "F" * 30, "h3")
    assert len(task.alerts("one_runtime")) == 1
    assert [alert.resolved for alert in task.alerts("degradation")] == [False]
    live(task, "F" * 60, "h3")
    assert len(task.alerts("one_runtime")) == 2, "rollback.renotify is 50"
    for _, honest in zip(range(150), cycle(HONEST), strict=False):
        live(task, "S", honest)
    *_, last = task.alerts("one_runtime")
    assert last.resolved
    assert last.subject == "backend-architect/api-design A"
    assert task.row.one_runtime is None


@BOTH
def test_the_snapshot_names_the_runtime_and_says_why_nothing_is_rolled_back(profile: str) -> None:
    task = a_fleet(PROFILES[profile])
    live(task, "F" * 20, "h3")
    snapshot = task.stated(m.TaskSnapshot)[-1]
    found = snapshot.one_runtime
    assert found is not None
    assert (found.runtime_id, found.other_runtimes) == ("h3", 2)
    assert found.metric in {"success_rate", "avg_reward"}
    assert 0.5 < found.share <= 1.0
    assert found.outcomes <= found.judged <= 20
    assert 10 <= found.other_outcomes <= 38
    assert found.text in (snapshot.no_rollback or "")
    assert msgspec.json.decode(msgspec.json.encode(snapshot), type=m.TaskSnapshot) == snapshot


@BOTH
def test_once_the_others_fail_too_the_variant_is_rolled_back_and_the_alert_ends(profile: str) -> None:
    task = a_fleet(PROFILES[profile])
    live(task, "F" * 20, "h3")
    assert not rolled_back(task)
    for _, runtime in zip(range(60), cycle(HONEST), strict=False):
        if not rolled_back(task):
            live(task, "F", runtime)
    assert rolled_back(task)
    assert [alert.resolved for alert in task.alerts("one_runtime")] == [False, True]


@BOTH
def test_a_runtime_with_most_of_the_traffic_is_believed_as_soon_as_the_little_that_others_send_fails_too(
    profile: str,
) -> None:
    """The other runtimes' outcomes before the fall are good and still count, so the rest of the window decides."""
    task = a_fleet(PROFILES[profile], n=300)
    live(task, "S" * 15, "h3")
    live(task, "F" * 13, "h3")
    assert not rolled_back(task)
    for honest in ("h1", "h2", "h1", "h2"):
        live(task, "F", honest)
    assert rolled_back(task)


def test_a_few_failures_of_the_others_do_not_make_them_agree_with_a_host_that_always_fails() -> None:
    """By the rule alone, the other runtimes would be degraded: about 80 % success, where the baseline has 98 %."""
    task = a_fleet(PROFILES["production"])
    for at in range(60):
        live(task, "S" * 9, None)
        live(task, "F" if at // 2 % 5 == 4 else "S", ["h1", "h2"][at % 2])
    live(task, "S" * 20, None)
    live(task, "F" * 20, "h3")
    assert rolled_back(task) == []
    assert task.row.one_runtime is not None
    assert "the other 2 runtimes: 0 of" not in task.row.one_runtime.words


def test_once_the_others_fail_too_without_a_target_the_alert_gives_way_to_no_target() -> None:
    task = Task()
    for _, runtime in zip(range(60), cycle(HONEST), strict=False):
        live(task, "S", runtime)
    live(task, "F" * 12, "h3")
    assert [alert.resolved for alert in task.alerts("one_runtime")] == [False]
    for _, runtime in zip(range(40), cycle(HONEST), strict=False):
        live(task, "F", runtime)
    assert [alert.resolved for alert in task.alerts("one_runtime")] == [False, True]
    assert task.alerts("no_target")
    assert task.row.one_runtime is None


def test_accepting_the_level_ends_the_alert_and_forgets_what_runtimes_reported() -> None:
    task = a_fleet(PROFILES["guide"])
    live(task, "F" * 20, "h3")
    for _, honest in zip(range(6), cycle(["h1", "h2"]), strict=False):
        live(task, "S", honest)
    assert task.row.one_runtime is not None
    result = task.order(m.AcceptLevel, variant_id="A")
    assert result.outcome == "applied", result.detail
    assert task.alerts("one_runtime")[-1].resolved
    assert all(runtime.n == 0 for runtime in task.row.runtimes.values())


def test_an_activation_ends_the_alert_and_forgets_what_runtimes_reported() -> None:
    task = a_fleet(PROFILES["guide"])
    live(task, "F" * 20, "h3")
    task.order(m.ActivateVariant, variant_id="B")
    assert [alert.resolved for alert in task.alerts("one_runtime")] == [False, True]
    assert all(runtime.n == runtime.first_reward == 0 for runtime in task.row.runtimes.values())


# -- runtimes that may contradict -------------------------------------------------------------------
@BOTH
@pytest.mark.parametrize(
    ("runtimes", "why"), [(["h3"], "alone"), (["h1", "h3"], "one against one"), ([None, "h3"], "the others unnamed")]
)
def test_if_fewer_than_two_named_runtimes_contradict_the_rollback_comes(
    profile: str, runtimes: list[Any], why: str
) -> None:
    task = a_fleet(PROFILES[profile], runtimes)
    live(task, "F" * 20, "h3")
    assert rolled_back(task), why
    assert not task.alerts("one_runtime")


@BOTH
@pytest.mark.parametrize(("minutes", "rolls_back"), [(29, False), (31, True)])
def test_runtimes_that_have_been_silent_for_two_long_invocations_contradict_nobody(
    profile: str, minutes: int, rolls_back: bool
) -> None:
    task = a_fleet(PROFILES[profile])
    task.now += minutes * 60_000 - 30_000
    live(task, "F" * 20, "h3")
    assert bool(rolled_back(task)) == rolls_back


@BOTH
def test_too_few_outcomes_of_the_others_in_this_epoch_contradict_nobody(profile: str) -> None:
    task = a_fleet(PROFILES[profile])
    task.order(m.ActivateVariant, variant_id="B")
    for honest in ("h1", "h2") * 4:
        live(task, "S", honest, "B")
    live(task, "F" * 30, "h3", "B")
    assert rolled_back(task)


@pytest.mark.parametrize(("mode", "alerts"), [("enforce", True), ("shadow", True), ("observe", False)])
def test_the_alert_is_about_an_action_so_observe_mode_sends_none(mode: str, alerts: bool) -> None:
    guide = PROFILES["guide"]
    policy = msgspec.structs.replace(guide, operations=msgspec.structs.replace(guide.operations, mode=mode))
    task = a_fleet(policy)
    live(task, "F" * 20, "h3")
    assert bool(task.alerts("one_runtime")) == alerts
    assert not rolled_back(task)


def test_a_hold_does_not_hide_that_one_runtime_is_to_blame() -> None:
    task = a_fleet(PROFILES["guide"])
    task.order(m.HoldTask)
    live(task, "F" * 20, "h3")
    assert task.alerts("one_runtime")
    assert not task.alerts("held_degradation"), "no alert asks to release a hold if the release would change nothing"


def test_a_share_of_one_switches_the_cap_off() -> None:
    task = a_fleet(but(PROFILES["guide"], runtime_share=1.0))
    live(task, "F" * 20, "h3")
    assert rolled_back(task)


def test_a_host_whose_share_is_within_the_cap_counts_like_any_other() -> None:
    capped, loose = (a_fleet(but(PROFILES["guide"], runtime_share=share)) for share in (0.5, 0.9))
    for task in (capped, loose):
        for _ in range(12):
            live(task, "F", "h3")
            live(task, "F" if task.row.n % 4 == 0 else "S", "h1")
    assert len(rolled_back(loose)) >= len(rolled_back(capped))


# -- the properties ---------------------------------------------------------------------------------
anything: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    statuses=st.sampled_from(["S", "F", "E"]),
    quality=st.none() | st.floats(0, 1),
    reward=st.none() | st.floats(-1, 1),
    error_count=st.integers(0, 3),
    duration_seconds=st.none() | st.floats(0, 5_000),
    variant_source=st.sampled_from(["live", "live", "explore"]),
)
bursts = st.lists(st.tuples(anything, st.integers(1, 25), st.integers(0, 3)), max_size=14)


@BOTH
@settings(max_examples=40, deadline=None)
@given(bursts, st.sampled_from(["mallory", None]))
def test_no_sequence_of_one_source_rolls_back_while_two_others_find_the_variant_healthy(
    profile: str, story: list[Any], liar: str | None
) -> None:
    task = a_fleet(PROFILES[profile], ["h1", "h2"], reward=1.0)
    for kind, times, honest in story:
        fields = dict(kind)
        live(task, fields.pop("statuses") * times, liar, **fields)
        for _, runtime in zip(range(honest), cycle(["h1", "h2"]), strict=False):
            live(task, "S", runtime, reward=1.0)
    assert rolled_back(task) == []


def rounds(story: list[str], runtimes: list[str]) -> Iterator[tuple[str, str]]:
    for status in story:
        for runtime in runtimes:
            yield status, runtime


before_and_after = (
    st.lists(st.sampled_from("SSSSSF"), min_size=10, max_size=20),
    st.lists(st.sampled_from("SFFE"), min_size=6, max_size=30),
    st.integers(3, 7),
)


def first_rollbacks(policy: Policy, before: list[str], after: list[str], size: int) -> list[int | None]:
    """Return the number of the outcome that caused the first rollback, with the cap and without it."""
    runtimes, found = [f"h{number}" for number in range(size)], list[int | None]()
    for share in (0.5, 1.0):
        task = a_fleet(but(policy, runtime_share=share), runtimes)
        start = task.offset + 1
        for status, runtime in rounds([*before, *after], runtimes):
            if not rolled_back(task):
                live(task, status, runtime)
        found.append(rolled_back(task)[0].position.offset - start if rolled_back(task) else None)
    return found


@settings(max_examples=60, deadline=None)
@given(*before_and_after)
def test_if_all_runtimes_degrade_alike_the_rollback_comes_with_the_same_outcome(
    before: list[str], after: list[str], size: int
) -> None:
    capped, free = first_rollbacks(PROFILES["production"], before, after, size)
    assert capped == free


@settings(max_examples=40, deadline=None)
@given(*before_and_after)
def test_in_the_profile_guide_where_one_outcome_may_suffice_it_comes_in_the_same_round(
    before: list[str], after: list[str], size: int
) -> None:
    capped, free = first_rollbacks(PROFILES["guide"], before, after, size)
    assert (capped is None) == (free is None)
    if capped is not None and free is not None:
        assert capped // size == free // size


@settings(max_examples=60, deadline=None)
@given(histories)
def test_where_nobody_contradicts_everything_is_as_without_the_cap_bit_for_bit(history: list[Any]) -> None:
    nameless = [
        msgspec.structs.replace(each, runtime_id=None) if isinstance(each, m.Invocation) else each for each in history
    ]
    tasks = []
    for share in (0.5, 1.0):
        task = Task(but(Policy(), runtime_share=share))
        task.take(*nameless)
        tasks.append(task)
    assert tasks[0].facts == tasks[1].facts
    assert encode_row(tasks[0].row) == encode_row(tasks[1].row)


# -- figures that the row keeps ---------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["h1", "h2"]), st.sampled_from("SFE"), st.integers(-20, 20)), max_size=90),
    st.lists(st.tuples(st.integers(0, 89), st.integers(-20, 20)), max_size=20),
)
def test_late_scores_leave_what_a_runtime_reported_as_if_they_had_been_known(story: list[Any], late: list[Any]) -> None:
    """The order does not matter: a score may arrive before its outcome, right after it, or after other outcomes."""
    policy = msgspec.structs.replace(
        Policy(), degradation=msgspec.structs.replace(Policy().degradation, lookback_window=100)
    )
    scores = {f"i{at}": reward / 20 for at, reward in late}
    early, later = Task(policy), Task(policy)
    for number, (runtime, status, reward) in enumerate(story):
        fields = {"invocation_id": f"i{number}", "reward": reward / 20}
        live(early, status, runtime, **fields | {"reward": scores.get(f"i{number}", reward / 20)})
        live(later, status, runtime, **fields)
    for name, reward in scores.items():
        later.take(a_score(name, reward))
    assert early.row.active == later.row.active
    assert reported(early.row) == reported(later.row)


def a_score(invocation_id: str, reward: float) -> m.Feedback:
    return m.Feedback(
        schema_version=1,
        feedback_id=f"score-{invocation_id}",
        timestamp=AT,
        agent_name=AGENT,
        task_type=TASK,
        invocation_id=invocation_id,
        reward=reward,
    )


def reported(row: TaskRow) -> dict[str, list[int]]:
    return {
        name: [each.n, each.successes, each.errors, each.reward, each.first_successes, each.first_reward]
        for name, each in row.runtimes.items()
    }


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from("SFE"), max_size=70))
def test_a_runtime_is_known_by_its_last_10_to_19_outcomes(statuses: list[str]) -> None:
    task = Task()
    live(task, "".join(statuses), "h1")
    if not statuses:
        return
    known, n = task.row.runtimes["h1"], len(statuses)
    kept = statuses[-(n if n < 20 else 10 + n % 10) :]
    assert (known.n, known.successes, known.errors) == (len(kept), kept.count("S"), kept.count("E"))


def test_a_score_that_waited_for_its_outcome_is_part_of_what_the_runtime_reported() -> None:
    task = Task()
    live(task, "S", "h1")
    task.take(a_score("early", -1.0))
    live(task, "S", "h1", invocation_id="early")
    assert task.row.runtimes["h1"].reward == 0


def test_known_runtimes_have_different_marks_as_long_as_there_are_any() -> None:
    row = new_row(KEY)
    for number in range(300):
        row.runtimes[f"r{number}"] = Runtime(mark=free_mark(row, f"r{number}"))
    marks = [runtime.mark for runtime in row.runtimes.values()]
    assert sorted(marks[:255]) == list(range(1, 256))
    assert marks[255:] == [mark_of(f"r{number}") for number in range(255, 300)]


def test_each_outcome_of_a_window_has_the_mark_of_its_runtime() -> None:
    task = Task()
    for _ in range(15):
        live(task, "S", "h1")
        live(task, "S", None)
        live(task, "S", "explorer", variant_source="explore")
    sources = task.row.variants["A"].sources
    assert len(sources) == 20
    assert set(sources) == {0, task.row.runtimes["h1"].mark, mark_of("explorer")}


def test_a_row_of_an_older_engine_goes_on_with_outcomes_of_unknown_origin() -> None:
    task = a_fleet(PROFILES["guide"])
    row: list[Any] = msgspec.msgpack.decode(encode_row(task.row))
    names = TaskRow.__struct_fields__
    del row[names.index("one_runtime") :]
    for variant in row[names.index("variants")].values():
        del variant[Variant.__struct_fields__.index("sources") :]
    for runtime in row[names.index("runtimes")].values():
        del runtime[Runtime.__struct_fields__.index("mark") :]
    task.row = decode_row(msgspec.msgpack.encode(row))
    for _, runtime in zip(range(45), cycle(HONEST), strict=False):
        live(task, "S", runtime)
    live(task, "F" * 20, "h3")
    assert rolled_back(task) == []
    assert task.row.one_runtime is not None
    assert task.row.one_runtime.runtime_id == "h3"


def test_a_window_that_an_older_engine_began_does_not_keep_a_candidate_from_its_promotion() -> None:
    task = a_fleet(PROFILES["guide"], quality=0.5)
    live(task, "S" * 20, "h1", "C", variant_source="explore", reward=1.0)
    task.row.variants["C"].sources.clear()
    live(task, "S", "h2", quality=0.5)
    assert task.row.active == "C"


def test_the_rows_of_a_story_restore_from_bytes_at_every_outcome() -> None:
    task, restored = a_fleet(PROFILES["production"]), Task(PROFILES["production"])
    restored.row, restored.offset, restored.now = decode_row(encode_row(task.row)), task.offset, task.now
    for number in range(40):
        message = an_invocation("A", "failure", invocation_id=f"same-{number}", runtime_id="h3", active_epoch=1)
        assert task.take(message) == restored.take(message)
        restored.row = decode_row(encode_row(restored.row))
    assert encode_row(task.row) == encode_row(restored.row)
    assert task.row.one_runtime is not None
