"""Policies: the guide's numbers, one canonical text per policy set, and which policy applies to a task."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import (
    GUIDE,
    AutoApply,
    Degradation,
    HumanApproval,
    Learning,
    Operations,
    Policy,
    PolicySet,
    Rollback,
)

numbers = st.floats(0, 1)
policies = st.builds(
    Policy,
    degradation=st.builds(
        Degradation,
        lookback_window=st.integers(2, 1000),
        success_drop=numbers,
        guard=st.sampled_from(["none", "evidence"]),
        baseline=st.sampled_from(["lifetime", "before_window"]),
    ),
    auto_apply=st.builds(AutoApply, q_threshold=st.floats(-1, 1), min_samples=st.integers(1, 100)),
    rollback=st.builds(Rollback, min_samples=st.integers(1, 9)),
    operations=st.builds(Operations, mode=st.sampled_from(["enforce", "shadow", "observe"]), exploration=numbers),
)
names = st.sampled_from(["alpha", "beta", "gamma"])
sets = st.builds(
    PolicySet,
    default=st.just(Policy()) | policies,
    agents=st.dictionaries(names, st.just(Policy()) | policies, max_size=2),
    tasks=st.dictionaries(names.map(lambda name: f"{name}/review"), st.just(Policy()) | policies, max_size=2),
)


def test_the_defaults_are_the_guides_numbers() -> None:
    policy = Policy()
    assert policy.degradation.lookback_window == 20
    assert (policy.degradation.success_drop, policy.degradation.reward_drop, policy.degradation.error_increase) == (
        0.10,
        0.15,
        0.20,
    )
    assert (policy.auto_apply.q_threshold, policy.auto_apply.min_samples) == (0.9, 10)
    assert policy.human_approval == HumanApproval(q_threshold=0.7, min_samples=5)
    assert policy.rollback.min_samples == 5
    proposals = policy.proposals
    assert (proposals.min_invocations, proposals.create_below_q, proposals.modify_below_q) == (50, 0.6, 0.6)
    assert proposals.promote_gap == 0.20
    assert policy.degradation.guard == "none"
    assert policy.operations.mode == "enforce"


@given(sets)
def test_a_canonical_text_reads_back_as_the_same_set(policies: PolicySet) -> None:
    assert PolicySet.parse(policies.canonical()) == policies
    assert PolicySet.parse(policies.canonical()).canonical() == policies.canonical()


@given(sets, sets)
def test_equal_sets_have_equal_texts_and_digests_and_different_ones_different(one: PolicySet, other: PolicySet) -> None:
    assert (one == other) == (one.canonical() == other.canonical())
    assert (one == other) == (one.digest() == other.digest())


@given(sets)
def test_the_order_in_which_overrides_were_written_does_not_matter(policies: PolicySet) -> None:
    turned = PolicySet(
        default=policies.default,
        agents=dict(reversed(policies.agents.items())),
        tasks=dict(reversed(policies.tasks.items())),
    )
    assert turned.canonical() == policies.canonical()


def test_the_guide_itself_is_the_empty_text() -> None:
    assert GUIDE.canonical() == b"{}"
    assert PolicySet.parse(b"{}") == GUIDE
    assert re.fullmatch(r"[0-9a-f]{16}", GUIDE.digest())


def test_an_override_that_restores_the_guide_is_not_lost() -> None:
    policies = PolicySet(default=Policy(operations=Operations(mode="observe")), agents={"alpha": Policy()})
    again = PolicySet.parse(policies.canonical())
    assert again.for_task(TaskKey("alpha", "review")).operations.mode == "enforce"
    assert again.for_task(TaskKey("beta", "review")).operations.mode == "observe"


@pytest.mark.parametrize(
    "text",
    [
        b'{"defaults":{}}',
        b'{"default":{"degradation":{"lookback":20}}}',
        b'{"agents":{"alpha":{"auto_aply":{}}}}',
        b'{"default":{"operations":{"mode":"loud"}}}',
        b'{"default":{"degradation":{"lookback_window":1}}}',
        b'{"default":{"degradation":{"success_drop":1.5}}}',
        b'{"default":{"learning":{"rate":0}}}',
        b'{"default":{"auto_apply":{"q_threshold":"high"}}}',
        b"[]",
        b"",
    ],
)
def test_an_unknown_field_or_an_impossible_value_is_rejected(text: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        PolicySet.parse(text)


def _fields(kind: Any) -> list[tuple[str, Any]]:
    return [(field.name, field.type) for field in msgspec.structs.fields(kind)]


@pytest.mark.parametrize(("section", "kind"), _fields(Policy), ids=[name for name, _ in _fields(Policy)])
def test_every_section_rejects_what_it_does_not_know(section: str, kind: Any) -> None:
    text = msgspec.json.encode({"default": {section: {"unheard_of": 1}}})
    with pytest.raises(msgspec.ValidationError, match="unheard_of"):
        PolicySet.parse(text)


def test_a_tasks_own_policy_comes_before_its_agents_and_that_before_the_default() -> None:
    own, agents, default = (Policy(learning=Learning(rate=rate)) for rate in (0.3, 0.2, 0.15))
    policies = PolicySet(default=default, agents={"alpha": agents}, tasks={"alpha/review": own, "beta/review": own})
    found = {
        str(key): policies.for_task(key)
        for key in (
            TaskKey("alpha", "review"),
            TaskKey("alpha", "other"),
            TaskKey("beta", "x"),
            TaskKey("beta", "review"),
        )
    }
    assert found == {"alpha/review": own, "alpha/other": agents, "beta/x": default, "beta/review": own}
