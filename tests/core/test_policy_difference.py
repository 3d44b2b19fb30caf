"""The settings in which two policies differ: none if they are equal, at least one if they are not."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core.policy import AutoApply, Degradation, Limits, Policy, PolicySet
from crl_stream.core.policy_difference import policy_differences

POLICIES = st.builds(
    Policy,
    degradation=st.builds(
        Degradation, lookback_window=st.sampled_from((10, 20)), success_drop=st.sampled_from((0.1, 0.2))
    ),
    auto_apply=st.builds(AutoApply, min_samples=st.sampled_from((10, 20))),
    limits=st.builds(Limits, variants=st.sampled_from((5, 32))),
)
SETS = st.builds(
    PolicySet,
    default=POLICIES,
    agents=st.dictionaries(st.sampled_from(("a", "b")), POLICIES),
    tasks=st.dictionaries(st.sampled_from(("a/x", "c/y")), POLICIES),
)


@given(SETS, SETS)
def test_sets_differ_in_a_setting_when_and_only_when_they_are_different_policies(
    one: PolicySet, other: PolicySet
) -> None:
    found = policy_differences(one, other)
    assert bool(found) == (one.digest() != other.digest())
    assert len({d.setting for d in found}) == len(found)
    assert [(d.setting, d.other, d.one) for d in policy_differences(other, one)] == [
        (d.setting, d.one, d.other) for d in found
    ]


@given(SETS)
def test_the_settings_that_differ_are_named_as_in_the_file(policies: PolicySet) -> None:
    default = msgspec.structs.replace(policies.default, limits=Limits(variants=6))
    changed = msgspec.structs.replace(policies, default=default, agents={"a": policies.default}, tasks={})
    found = {d.setting: d for d in policy_differences(PolicySet(policies.default), changed)}
    assert found["limits.variants"].other == 6
    assert "agents.a.limits.variants" not in found, "the value for that agent is unchanged"
