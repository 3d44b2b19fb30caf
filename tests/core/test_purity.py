"""The engine is a fold: bytes and facts are the same wherever the log is cut, and however often it is folded."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core.monitor.step import Context, fold
from crl_stream.core.policy import Degradation, Limits, Policy

from .histories import histories
from .task import KEY, NOON

policies = st.sampled_from(
    [
        Policy(),
        Policy(degradation=Degradation(guard="evidence", false_alarm_budget=10)),
        Policy(degradation=Degradation(lookback_window=5, min_baseline=5), limits=Limits(variants=2, duplicate_ids=8)),
    ]
)


def placed(history: list[Any]) -> list[tuple[Any, Context]]:
    """Place messages seven minutes apart, so that pins and holds expire and the date changes."""
    return [(message, Context(0, at, NOON + at * 420_000, 0, "0" * 16)) for at, message in enumerate(history)]


@settings(deadline=None, max_examples=80)
@given(histories, policies, st.data())
def test_a_log_may_be_cut_anywhere(history: list[Any], policy: Policy, data: st.DataObject) -> None:
    log = placed(history)
    whole, facts = fold(None, KEY, log, policy)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=5)))
    row: bytes | None = None
    stated: list[Any] = []
    for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
        row, some = fold(row, KEY, log[start:end], policy)
        stated += some
    assert row == whole
    assert stated == facts


@settings(deadline=None, max_examples=30)
@given(histories, policies)
def test_one_message_at_a_time_equals_all_at_once(history: list[Any], policy: Policy) -> None:
    log = placed(history)
    whole, facts = fold(None, KEY, log, policy)
    row: bytes | None = None
    stated: list[Any] = []
    for entry in log:
        row, some = fold(row, KEY, [entry], policy)
        stated += some
    assert (row or fold(None, KEY, [], policy)[0], stated) == (whole, facts)


@settings(deadline=None, max_examples=30)
@given(histories, policies)
def test_a_fold_repeated_is_the_same_and_leaves_its_input_alone(history: list[Any], policy: Policy) -> None:
    log = placed(history)
    first, _ = fold(None, KEY, log[: len(log) // 2], policy)
    kept = bytes(first)
    once = fold(first, KEY, log[len(log) // 2 :], policy)
    assert first == kept
    assert fold(first, KEY, log[len(log) // 2 :], policy) == once


@settings(deadline=None, max_examples=30)
@given(histories)
def test_equal_policies_give_equal_folds_whichever_object_they_are(history: list[Any]) -> None:
    log = placed(history)
    assert fold(None, KEY, log, Policy()) == fold(None, KEY, log, Policy(limits=Limits()))
