"""Scores of Langfuse and LangSmith as feedback, and the place in a system that is polled."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.otlp import RECEIVED, mapped, record, written
from crl_stream.bridges.kinds import KINDS
from crl_stream.bridges.polling import (
    MOST_IN_HAND,
    MOST_SEEN,
    Cursor,
    Fetched,
    at_end,
    cursor_header,
    cursor_in,
    last_cursor,
    new_in,
)
from crl_stream.bridges.scale import Scale, number_in
from crl_stream.core import messages as m
from crl_stream.core.instant import to_text

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
LANGFUSE = {
    "url": "https://langfuse.example.org/",
    "public_key": "pk",
    "secret_key": "sk",
    "evaluator": "helpful",
    "agent_name": "helper",
    "task_type": "task",
}
LANGSMITH = {"port": 9_000, "secret": "x" * 16, "evaluator": "helpful", "agent_name": "helper", "task_type": "task"}
SCORE = {
    "id": "s1",
    "name": "helpful",
    "value": 0.5,
    "dataType": "NUMERIC",
    "source": "EVAL",
    "timestamp": "2025-11-19T14:30:00Z",
    "updatedAt": "2025-11-19T14:30:00Z",
    "subject": {"kind": "observation", "id": SPAN, "traceId": TRACE},
}


def of_langfuse(**changes: Any) -> Any:
    """Map one score; return its message or its reason."""
    options = {name: changes.pop(name) for name in list(changes) if name in KINDS["langfuse"].options.model_fields}
    score = {name: value for name, value in (SCORE | changes).items() if value is not None}
    value = json.dumps(score).encode()
    found = mapped("langfuse", value, **(LANGFUSE | options))
    written(found, value)
    if found.faults:
        return found.faults[0].reason
    return found.messages[0].message if found.messages else None


def test_a_score_is_feedback_for_the_observation_that_it_is_about() -> None:
    found = of_langfuse()
    assert isinstance(found, m.Feedback)
    assert (found.invocation_id, found.quality, found.evaluator) == (f"{TRACE}-{SPAN}", 0.5, "helpful")
    assert (found.agent_name, found.task_type, found.source) == ("helper", "task", "EVAL")
    assert found.timestamp == "2025-11-19T14:30:00.000Z"


def test_the_same_score_has_the_same_id_and_a_changed_one_another() -> None:
    assert of_langfuse() == of_langfuse()
    assert of_langfuse(value=1).feedback_id != of_langfuse().feedback_id
    assert of_langfuse(updatedAt="2025-11-20T14:30:00Z").feedback_id != of_langfuse().feedback_id


@pytest.mark.parametrize(
    ("changes", "invocation"),
    [
        ({"subject": {"kind": "trace", "id": TRACE}}, TRACE),
        ({"subject": None, "traceId": TRACE, "observationId": SPAN}, f"{TRACE}-{SPAN}"),
        ({"subject": None, "traceId": TRACE}, TRACE),
        ({"invocation_id": "trace"}, TRACE),
        ({"metadata": {"crl.invocation_id": "mine"}}, "mine"),
        ({"metadata": {"invocation_id": "mine"}}, "mine"),
    ],
)
def test_the_invocation_is_what_the_metadata_or_the_subject_says(changes: dict[str, Any], invocation: str) -> None:
    assert of_langfuse(**changes).invocation_id == invocation


def test_the_metadata_names_the_task_before_the_settings() -> None:
    found = of_langfuse(metadata={"crl_agent_name": "Math Tutor", "task_type": "algebra"})
    assert (found.agent_name, found.task_type) == ("Math-Tutor", "algebra")


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({"name": "other"}, None),
        ({"value": "good", "dataType": "CATEGORICAL"}, "wrong_type"),
        ({"value": 7}, "out_of_range"),
        ({"subject": {"kind": "session", "id": "s"}}, "missing_field"),
        ({"metadata": {"agent_name": "数"}}, "bad_identifier"),
    ],
)
def test_a_score_that_cannot_be_used_is_a_fault_and_another_name_is_nothing(changes: Any, result: Any) -> None:
    assert of_langfuse(**changes) == result


def test_a_truth_value_needs_no_scale() -> None:
    scale = {"score_min": 1, "score_max": 5}
    assert of_langfuse(value=True, dataType="BOOLEAN", **scale).quality == 1.0
    assert of_langfuse(value=0, dataType="BOOLEAN", **scale).quality == 0.0
    assert of_langfuse(value=3, **scale).quality == 0.5
    assert of_langfuse(value=1, **scale).quality == 0.0, "only a truth value is one"
    assert of_langfuse(value=2, dataType="BOOLEAN") == "out_of_range"


@pytest.mark.parametrize(
    ("text", "timestamp"),
    [
        ("2025-11-19T14:30:00Z", "2025-11-19T14:30:00.000Z"),
        ("2025-11-19T14:30:00.1234567Z", "2025-11-19T14:30:00.123Z"),
        ("2025-11-19T15:30:00+01:00", "2025-11-19T14:30:00.000Z"),
        ("2025-11-19T13:30:00-01:00", "2025-11-19T14:30:00.000Z"),
        ("2025-11-19T14:30:00", "2025-11-19T14:30:00.000Z"),
        ("2025-11-19T14:30:00.054145", "2025-11-19T14:30:00.054Z"),
        ("2025-11-19", to_text(RECEIVED)),
        ("yesterday", to_text(RECEIVED)),
        ("", to_text(RECEIVED)),
        (7, to_text(RECEIVED)),
        (None, to_text(RECEIVED)),
        ("2025-11-19T14:30:00." + "0" * 60 + "Z", "2025-11-19T14:30:00.000Z"),
    ],
)
def test_a_time_may_have_any_offset_and_without_one_it_is_utc_and_a_wrong_one_is_that_of_arrival(
    text: Any, timestamp: str
) -> None:
    assert of_langfuse(timestamp=text).timestamp == timestamp
    [message] = of_langsmith(a_run(modified_at=text, end_time=text)).messages
    assert message.message.timestamp == timestamp


@pytest.mark.usefixtures("far_from_utc")
def test_a_time_without_an_offset_does_not_depend_on_where_the_worker_runs() -> None:
    assert of_langfuse(timestamp="2025-11-19T14:30:00").timestamp == "2025-11-19T14:30:00.000Z"


@pytest.mark.parametrize("setting", ["agent_name", "task_type"])
def test_a_name_that_neither_score_nor_settings_have_is_a_fault_that_says_so(setting: str) -> None:
    value = json.dumps(SCORE).encode()
    [fault] = mapped("langfuse", value, **(LANGFUSE | {setting: ""})).faults
    assert fault.reason == "missing_field"
    assert fault.detail == f"{setting}: neither score s1 nor the settings name it"


def test_a_long_name_that_cannot_be_mended_is_shortened_in_the_fault() -> None:
    value = json.dumps(SCORE | {"metadata": {"agent_name": "x" * 200}}).encode()
    [fault] = mapped("langfuse", value, **LANGFUSE).faults
    assert fault.detail == f"agent_name: score s1 has a name that cannot be mended: {'x' * 60!r}"


def test_a_score_that_names_only_an_observation_is_about_no_invocation() -> None:
    assert of_langfuse(subject={"kind": "observation", "id": SPAN}) == "missing_field"


def test_langfuse_is_asked_for_one_page_of_the_scores_since_a_time() -> None:
    options = KINDS["langfuse"].options.model_validate({"kind": "langfuse"} | LANGFUSE)
    url, query = KINDS["langfuse"].pull.request(options, 1_763_562_600_000, "next")
    assert url == "https://langfuse.example.org/api/public/v3/scores"
    assert query["fromTimestamp"] == "2025-11-19T14:30:00.000Z"
    assert (query["name"], query["cursor"]) == ("helpful", "next")
    assert KINDS["langfuse"].pull.headers(options) == {"Authorization": "Basic cGs6c2s="}


def langfuse(**options: Any) -> Any:
    return KINDS["langfuse"].options.model_validate({"kind": "langfuse"} | LANGFUSE | options)


def test_the_first_page_is_asked_for_without_a_cursor_from_the_configured_time_or_from_now_on() -> None:
    assert "cursor" not in KINDS["langfuse"].pull.request(langfuse(), 0, "")[1]
    assert KINDS["langfuse"].pull.request(langfuse(), -1, "")[1]["fromTimestamp"] == "1970-01-01T00:00:00.000Z"
    assert langfuse().first_time(7) == 7
    assert langfuse(start="2025-11-19T14:30:00Z").first_time(7) == 1_763_562_600_000
    assert langfuse(overlap_minutes=1.5).overlap == 90_000


def test_a_page_has_its_scores_with_their_times_and_where_the_next_one_begins() -> None:
    changed = SCORE | {"value": 0.75}
    without = {name: value for name, value in SCORE.items() if name != "timestamp"}
    body = json.dumps({"data": [SCORE, changed, without], "meta": {"cursor": "next"}}).encode()
    page = KINDS["langfuse"].pull.read(body)
    assert page.next == "next"
    assert [json.loads(one.value) for one in page.scores] == [SCORE, changed, without]
    assert [one.time for one in page.scores] == [1_763_562_600_000, 1_763_562_600_000, 0]
    assert len({one.identity for one in page.scores}) == 2, "a score that has changed is another one"
    for meta in ({}, {"cursor": None}, {"cursor": 3}):
        assert KINDS["langfuse"].pull.read(json.dumps({"data": [], "meta": meta}).encode()) == ([], "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data": [], "meta": 1}',
        b'{"data": [{}], "meta": {}}',
        b'{"data": {}, "meta": {}}',
        b'{"data": [3], "meta": {}}',
    ],
)
def test_an_answer_that_is_no_page_is_an_error_and_not_an_empty_page(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        KINDS["langfuse"].pull.read(body)


def test_a_record_with_nothing_but_a_cursor_is_nothing_and_a_score_of_another_name_is_counted() -> None:
    for value in (None, b""):
        assert mapped("langfuse", value, **LANGFUSE) == ([], [], 0)
    assert mapped("langfuse", json.dumps(SCORE | {"name": "other"}).encode(), **LANGFUSE) == ([], [], 1)
    [fault] = mapped("langfuse", json.dumps(SCORE | {"id": "x" * 99, "value": 7}).encode(), **LANGFUSE).faults
    assert fault.detail == f"quality: score {'x' * 60} is 7.0, outside of 0.0 to 1.0"


# -- LangSmith -----------------------------------------------------------------------------------------
def a_run(**changes: Any) -> dict[str, Any]:
    stats = {"helpful": {"n": 2, "avg": 0.5, "values": {}}, "other": {"n": 1, "avg": 1.0}}
    return {"id": "6ab80f10", "feedback_stats": stats, "modified_at": "2025-11-19T14:30:00.054145"} | changes


def of_langsmith(*runs: Any, **options: Any) -> Any:
    value = json.dumps({"rule_id": "r", "runs": list(runs)}).encode()
    found = mapped("langsmith", value, **(LANGSMITH | options))
    written(found, value)
    return found


def test_the_average_of_a_runs_feedback_is_the_quality_of_the_invocation_with_its_id() -> None:
    [message] = of_langsmith(a_run(), a_run(id="another", feedback_stats=None)).messages
    found = message.message
    assert (found.invocation_id, found.quality, found.evaluator) == ("6ab80f10", 0.5, "helpful")
    assert found.timestamp == "2025-11-19T14:30:00.054Z"
    metadata = {"crl.invocation_id": "mine", "crl.agent_name": "a", "crl.task_type": "t"}
    [message] = of_langsmith(a_run(extra={"metadata": metadata})).messages
    found = message.message
    assert (found.invocation_id, found.agent_name, found.task_type) == ("mine", "a", "t")


def test_a_call_that_is_repeated_has_the_same_ids_and_a_new_average_another() -> None:
    assert of_langsmith(a_run()) == of_langsmith(a_run())
    changed = a_run(feedback_stats={"helpful": {"n": 3, "avg": 0.5}})
    assert (
        of_langsmith(changed).messages[0].message.feedback_id != of_langsmith(a_run()).messages[0].message.feedback_id
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"", "null_value"), (b"{", "not_json"), (b"[]", "missing_field"), (b'{"runs":[1]}', "missing_field")],
)
def test_a_call_of_another_shape_is_a_fault(body: bytes, reason: str) -> None:
    assert [fault.reason for fault in mapped("langsmith", body, **LANGSMITH).faults] == [reason]


def test_only_the_configured_feedback_counts_wherever_it_stands_and_the_end_of_a_run_is_its_time_without_a_change() -> (
    None
):
    stats = {"other": {"n": 1, "avg": 1.0}, "helpful": {"n": 2, "avg": 0.5}}
    run = a_run(feedback_stats=stats, modified_at=None, end_time="2025-11-19T14:31:00Z")
    found = of_langsmith(run, a_run(id="another", feedback_stats={"other": {"n": 1, "avg": 1.0}}))
    [message] = found.messages
    assert (message.message.quality, message.message.timestamp) == (0.5, "2025-11-19T14:31:00.000Z")
    assert message.message.schema_version == 1
    assert (found.faults, found.ignored) == ([], 1)


def test_each_run_of_a_call_is_a_score_or_a_fault_or_is_counted() -> None:
    wrong = a_run(feedback_stats={"helpful": {"n": 1, "avg": 7}})
    found = of_langsmith(a_run(), wrong, a_run(feedback_stats={}))
    assert (len(found.messages), [fault.reason for fault in found.faults], found.ignored) == (1, ["out_of_range"], 1)
    assert found.faults[0].detail.startswith("quality: feedback 'helpful' of run 6ab80f10 is 7.0")
    assert of_langsmith(a_run()).ignored == 0
    long = a_run(feedback_stats={"x" * 50: {"n": 1, "avg": 7}})
    assert f"feedback {'x' * 40!r} of" in of_langsmith(long, evaluator="x" * 50).faults[0].detail


def test_feedback_without_numbers_is_nothing() -> None:
    no_average, no_number = {"helpful": {"n": 1, "avg": None}}, {"helpful": {"n": 0, "avg": 0.5}}
    for stats in (no_number, no_average, {"helpful": 3}, [], {}):
        found = of_langsmith(a_run(feedback_stats=stats))
        assert (found.messages, found.faults) == ([], [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["helpful", "n", "avg", "metadata", "agent_name", "kind", "id", "traceId"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(SCORE)), JSON), st.dictionaries(st.sampled_from(sorted(a_run())), JSON))
def test_no_score_makes_a_bridge_fail(score: dict[str, Any], run: dict[str, Any]) -> None:
    value = json.dumps(SCORE | score).encode()
    written(mapped("langfuse", value, **LANGFUSE), value)
    of_langsmith(a_run(**run))


@given(st.binary(max_size=40))
def test_no_bytes_make_a_bridge_fail(value: bytes) -> None:
    written(mapped("langfuse", value, **LANGFUSE), value)
    written(mapped("langsmith", value, **LANGSMITH), value)


# -- scale ---------------------------------------------------------------------------------------------
ends = st.integers(-1_000, 1_000)


@given(ends, ends, st.integers(-500, 1_500))
def test_a_quality_is_where_the_score_lies_on_the_scale_and_nothing_beyond_its_ends(
    least: int, most: int, thousandths: int
) -> None:
    if least != most:
        quality = Scale("", least, most).quality(least + (most - least) * thousandths / 1_000)
        assert quality == (None if not 0 <= thousandths <= 1_000 else pytest.approx(thousandths / 1_000))
        assert Scale("", least, most).quality(least) == 0.0
        assert Scale("", least, most).quality(most) == 1.0


def test_a_quality_has_six_decimals() -> None:
    assert Scale("", 0, 3).quality(1) == 0.333333


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), True, "1", None, [], 10**400])
def test_only_a_finite_number_is_a_number(value: Any) -> None:
    assert number_in(value) is None


# -- polling -------------------------------------------------------------------------------------------
OVERLAP = 1_000


def rounds(scores: list[tuple[int, int]], overlap: int = OVERLAP) -> tuple[list[str], Cursor]:
    """Poll after every appearance of a score: (when it appears, its own time); return what was fetched."""
    cursor, fetched = Cursor(0), list[str]()
    for now in sorted({appears for appears, _ in scores}):
        there = [
            Fetched(f"{n}", time, b"")
            for n, (appears, time) in enumerate(scores)
            if appears <= now and time >= cursor.since
        ]
        found, cursor = new_in(there, cursor)
        fetched += [one.identity for one in found]
        cursor = at_end(cursor, overlap)
        again = cursor_in([cursor_header(cursor)])
        assert again == cursor, "a restart continues from the same place"
    return fetched, cursor


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, OVERLAP)), max_size=30))
def test_every_score_that_is_late_by_no_more_than_the_overlap_is_fetched_once(late: list[tuple[int, int]]) -> None:
    scores = [(appears, max(0, appears - by)) for appears, by in late]
    fetched, _ = rounds(scores)
    assert sorted(fetched) == sorted(str(n) for n in range(len(scores)))


def test_a_score_that_changes_is_a_new_one_and_the_oldest_comes_first() -> None:
    cursor = Cursor(0)
    found, cursor = new_in([Fetched("b", 2, b""), Fetched("a", 1, b"")], cursor)
    assert [one.identity for one in found] == ["a", "b"]
    found, _ = new_in([Fetched("a", 1, b""), Fetched("a changed", 1, b"")], cursor)
    assert [one.identity for one in found] == ["a changed"]


def test_the_cursor_never_outgrows_a_record() -> None:
    scores = [Fetched(str(n), n, b"") for n in range(3 * MOST_SEEN)]
    _, cursor = new_in(scores, Cursor(0))
    assert len(cursor_header(cursor)[1]) < 300_000
    ended = at_end(cursor, 10**9)
    assert (len(ended.seen), ended.since) == (MOST_SEEN, 2 * MOST_SEEN)
    assert len(cursor_header(ended)[1]) < 300_000


def test_the_cursor_never_outgrows_the_memory_however_many_pages_there_are() -> None:
    cursor, total = Cursor(0), 2 * MOST_IN_HAND + 1
    for first in range(0, total, MOST_IN_HAND):  # newest first, as some systems list them
        page = [Fetched(str(n), n, b"") for n in range(total - first)[-MOST_IN_HAND:]]
        found, cursor = new_in(page, cursor)
        assert len(found) == len(page)
        assert len(cursor.seen) == MOST_IN_HAND
    ended = at_end(cursor, 10**9)
    assert (len(ended.seen), ended.since) == (MOST_SEEN, total - MOST_SEEN)


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b'{"since":"x"}'])
def test_a_forged_cursor_is_none(value: bytes | None) -> None:
    assert cursor_in([("crl-cursor", value)]) is None


def test_scores_older_than_the_overlap_are_forgotten_and_a_cursor_never_goes_back() -> None:
    assert at_end(Cursor(5), 10) == Cursor(5)
    assert at_end(Cursor(0, {"a": 90, "b": 100, "c": 89}), 10) == Cursor(90, {"a": 90, "b": 100})
    assert at_end(Cursor(95, {"a": 90, "b": 100}), 10) == Cursor(95, {"b": 100})


def test_the_last_cursor_of_a_bridge_is_the_newest_that_it_wrote_itself() -> None:
    def inbox(key: bytes, cursor: Cursor | None) -> Any:
        return record(b"", () if cursor is None else [("other", b"x"), cursor_header(cursor)], key)

    records = [inbox(b"mine", Cursor(1)), inbox(b"mine", Cursor(2)), inbox(b"mine", None), inbox(b"yours", Cursor(3))]
    assert last_cursor(records, b"mine") == Cursor(2)
    assert last_cursor(records, b"nobody") is None
    assert cursor_in(None) is None
