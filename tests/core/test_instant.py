"""Instants: every number can be written as text, and a leap second counts as the last millisecond of its day."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core.instant import day, from_text, readable, to_text

FIRST, LAST = -62_135_596_800_000, 253_402_300_799_999


@given(st.integers(FIRST, LAST))
def test_a_text_is_read_back_to_the_millisecond(milliseconds: int) -> None:
    assert from_text(to_text(milliseconds)) == milliseconds


@given(st.integers(-(2**63), 2**63 - 1))
def test_no_time_that_a_record_may_carry_makes_telling_it_raise(milliseconds: int) -> None:
    assert from_text(to_text(milliseconds)) == min(max(milliseconds, FIRST), LAST)
    assert day(milliseconds).isdigit()


@pytest.mark.parametrize("second", ["60", "60.0", "60.999999999"])
def test_a_leap_second_is_the_last_millisecond_before_midnight(second: str) -> None:
    assert from_text(f"2016-12-31T23:59:{second}Z") == from_text("2016-12-31T23:59:59.999Z")
    assert from_text(f"9999-12-31T23:59:{second}Z") == LAST


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("held until 2025-11-19T14:30:59.999Z: why", "held until 2025-11-19 14:30:59 UTC: why"),
        ("it fell (2025-11-19T14:30:59.999Z)", "it fell (2025-11-19 14:30:59 UTC)"),
        ("2025-11-19T14:30:59.999Z  ROLLBACK", "2025-11-19T14:30:59.999Z  ROLLBACK"),
        ("a  2025-11-19T14:30:59.999Z", "a  2025-11-19T14:30:59.999Z"),
        ("crl export outcomes --from 2025-11-19T14:30:59Z", "crl export outcomes --from 2025-11-19T14:30:59Z"),
        ("at 2025-11-19T14:30:59.999Zulu", "at 2025-11-19T14:30:59.999Zulu"),
        ("", ""),
    ],
)
def test_the_instants_in_a_sentence_are_readable_and_columns_and_commands_stay(text: str, shown: str) -> None:
    assert readable(text) == shown


@given(st.text())
def test_only_instants_change(text: str) -> None:
    assert readable(text) == text or "T" in text
