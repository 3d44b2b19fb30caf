"""A drill's result survives as the reason of a pin, and no other reason is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core.drills import (
    DRILL_AGENT,
    LONGEST_DETAIL,
    Drill,
    drill_of,
    is_drill,
    is_silent_drill,
    record_of,
)

drills = st.builds(
    Drill,
    st.sampled_from(["running", "passed", "blocked", "failed"]),
    st.integers(0, 4_000_000_000_000),
    st.text(max_size=20),
    st.text(max_size=LONGEST_DETAIL),
)


@given(drills, st.none() | st.text(), st.integers(0))
def test_what_a_drill_records_is_read_again_whatever_the_task_looks_like(
    drill: Drill, active: str | None, since: int
) -> None:
    assert drill_of(active, since, drill.actor, record_of(drill)) == drill


@given(drills)
def test_a_record_is_short_enough_for_the_reason_of_a_command(drill: Drill) -> None:
    assert len(record_of(drill._replace(detail=drill.detail * 100))) < 2_000


@pytest.mark.parametrize(
    "words",
    [None, "", "incident 42", "drill passed yesterday: fine", "drill won 1970-01-01T00:00:00Z: x", "drill passed"],
)
def test_a_task_with_other_words_or_none_had_a_drill_without_a_result_if_it_has_a_variant(words: str | None) -> None:
    found = drill_of("drill-failing", 5, "ada", words)
    assert found is not None
    assert (found.result, found.time) == ("unfinished", 5)
    assert drill_of(None, 0, "ada", words) is None


def test_a_drill_is_silent_unless_its_task_says_that_people_are_to_be_notified() -> None:
    assert is_drill(DRILL_AGENT)
    assert not is_drill(None)
    assert not is_drill("backend-architect")
    assert is_silent_drill(DRILL_AGENT, "silent-1")
    assert is_silent_drill(DRILL_AGENT, None)
    assert is_silent_drill(DRILL_AGENT, "anything-else")
    assert not is_silent_drill(DRILL_AGENT, "notify-1")
    assert not is_silent_drill("backend-architect", "silent-1")
