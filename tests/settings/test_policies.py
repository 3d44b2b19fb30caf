"""The policy of an agent or a task, and the digest by which workers tell policies apart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import PolicySet
from crl_stream.settings import PROFILES
from crl_stream.settings.model import is_policy, leaves
from settings.resolving import refusal, resolve

POLICY_NAMES = sorted(name for name in leaves() if is_policy(name))
OTHER_NAMES = sorted(set(leaves()) - set(POLICY_NAMES))

LAYERED = """
[degradation]
lookback_window = 30
success_drop = 0.2

[agents."backend-architect".degradation]
lookback_window = 40

[tasks."backend-architect/api-design".auto_apply]
q_threshold = 0.95

[tasks."reviewer/api-design".degradation]
success_drop = 0.3
"""


def window(settings: Any, task: str) -> tuple[int, float, float]:
    policy = settings.policies.for_task(TaskKey.parse(task))
    return policy.degradation.lookback_window, policy.degradation.success_drop, policy.auto_apply.q_threshold


def test_a_task_has_its_own_values_over_its_agent_s_over_the_installation_s() -> None:
    settings = resolve(LAYERED)
    assert window(settings, "somebody/else") == (30, 0.2, 0.9)
    assert window(settings, "backend-architect/security") == (40, 0.2, 0.9)
    assert window(settings, "backend-architect/api-design") == (40, 0.2, 0.95)
    assert window(settings, "reviewer/api-design") == (30, 0.3, 0.9)


def test_an_override_is_shown_with_its_origin_under_its_dotted_name() -> None:
    origins = resolve(LAYERED).origins
    for name in [
        "agents.backend-architect.degradation.lookback_window",
        "tasks.reviewer/api-design.degradation.success_drop",
    ]:
        assert origins[name].source == "crl.toml"


def test_a_flag_overrides_what_the_file_says_of_the_same_agent_and_nothing_else_of_it() -> None:
    toml = "[agents.a.degradation]\nlookback_window = 40\nsuccess_drop = 0.2\n"
    settings = resolve(toml, flags={"agents.a.degradation.lookback_window": "50"})
    assert window(settings, "a/t") == (50, 0.2, 0.9)
    assert settings.origins["agents.a.degradation.lookback_window"].source.startswith("flag --set")


@pytest.mark.parametrize("agent", ["a", "a.b", "team:a", "a.b.c-d_e"])
def test_a_name_with_dots_in_it_is_one_name_in_the_file_and_in_a_flag(agent: str) -> None:
    by_file = resolve(f'[agents."{agent}".degradation]\nlookback_window = 40\n')
    by_flag = resolve(flags={f"agents.{agent}.degradation.lookback_window": "40"})
    assert set(by_file.policies.agents) == set(by_flag.policies.agents) == {agent}
    assert by_file.policies == by_flag.policies
    assert set(resolve(flags={f"tasks.{agent}/t.degradation.lookback_window": "40"}).policies.tasks) == {f"{agent}/t"}


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[agents."a b".degradation]\nlookback_window = 40\n', "does not name an agent"),
        ("[tasks.lonely.degradation]\nlookback_window = 40\n", "does not name a task"),
        ('[tasks."a/b/c".degradation]\nlookback_window = 40\n', "does not name a task"),
        ("[agents.a]\nlookback_window = 40\n", "There is no policy setting 'lookback_window'"),
        ("[agents.a.kafka]\npartitions = 40\n", "There is no policy setting 'kafka.partitions'"),
        ("[agents.a.degradation]\nlookback_windw = 40\n", "There is no policy setting 'degradation.lookback_windw'"),
        ("[agents]\na = 40\n", "agents.a is not a setting"),
        ("agents = 40\n", "There is no setting 'agents'"),
        ("[agents.a.degradation]\nlookback_window = 1\n", "degradation.lookback_window = 1 (crl.toml, line 2)"),
    ],
)
def test_an_override_that_fits_nothing_is_refused_with_its_origin_or_name(toml: str, said: str) -> None:
    assert said in refusal(toml).message


def test_a_misspelt_policy_setting_of_an_agent_is_answered_with_the_nearest_one() -> None:
    error = refusal("[agents.a.degradation]\nlookback_windw = 40\n")
    assert error.hint is not None
    assert error.hint.endswith("the nearest name is degradation.lookback_window")


def test_an_agent_cannot_be_overridden_from_the_environment() -> None:
    for variable in ("CRL_AGENTS_A_DEGRADATION_LOOKBACK_WINDOW", "CRL_TASKS_A_T_DEGRADATION_LOOKBACK_WINDOW"):
        said = refusal(environment={variable: "40"})
        assert "There is no setting" in said.message
        assert "in the file, or with --set agents.<name>" in said.hint, "the hint says where to set a policy setting"


# -- the digest ------------------------------------------------------------------------------------
numbers = st.fixed_dictionaries(
    {},
    optional={
        "degradation.lookback_window": st.integers(2, 1000),
        "degradation.success_drop": st.sampled_from([0.0, 0.1, 0.2, 1.0]),
        "auto_apply.min_samples": st.integers(1, 30),
        "operations.mode": st.sampled_from(["enforce", "shadow"]),
        "agents.a.degradation.lookback_window": st.integers(19, 22),
        "tasks.a/t.auto_apply.min_samples": st.integers(9, 12),
    },
)


@given(numbers, numbers)
def test_two_digests_are_equal_exactly_when_the_policies_are(first: dict[str, Any], second: dict[str, Any]) -> None:
    one, other = resolve(flags=first).policies, resolve(flags=second).policies
    assert (one.digest() == other.digest()) == (one == other)


@given(numbers)
def test_the_canonical_text_of_any_policy_reads_back_as_that_policy(chosen: dict[str, Any]) -> None:
    policies = resolve(flags=chosen).policies
    assert PolicySet.parse(policies.canonical()) == policies


@pytest.mark.parametrize("name", POLICY_NAMES)
def test_a_default_that_is_written_out_changes_no_digest(name: str) -> None:
    assert resolve(flags={name: str(leaves()[name])}).policies.digest() == resolve().policies.digest()


@pytest.mark.parametrize("name", POLICY_NAMES)
def test_every_policy_setting_is_part_of_the_digest(name: str) -> None:
    default = leaves()[name]
    others = {"none": "evidence", "lifetime": "before_window", "enforce": "shadow", "next_turn": "next_session"}
    others |= {"off": "alert", "alert": "rollback"}
    other: Any
    if isinstance(default, str):
        other = others[default]
    elif isinstance(default, tuple):
        other = "0.25,0.5" if name == "rollout.stages" else "tool_calls/alert/higher_is_worse/0.5/2"
    elif isinstance(default, bool):
        other = str(not default).lower()
    else:
        other = default + 2 if isinstance(default, int) else default / 2 or 0.25
    assert resolve(flags={name: str(other)}).policies.digest() != resolve().policies.digest()


def test_no_other_setting_is_part_of_the_digest() -> None:
    elsewhere = {
        "kafka.bootstrap_servers": "there:9092",
        "kafka.partitions": "8",
        "kafka.sasl_password": "secret",
        "worker.web_port": "7000",
        "broker.heap_mb": "1024",
        "client.runtime_id": "me",
    }
    assert elsewhere.keys() <= set(OTHER_NAMES)
    assert resolve(flags=elsewhere).policies.digest() == resolve().policies.digest()


def test_the_digest_does_not_care_in_which_layer_or_order_a_policy_was_written() -> None:
    by_profile = resolve('profile = "conservative"\n').policies
    by_file = resolve("[auto_apply]\nmin_samples = 20\nq_threshold = 0.95\n").policies
    by_flags = resolve(flags={"auto_apply.q_threshold": "0.95", "auto_apply.min_samples": "20"}).policies
    assert len({by_profile.digest(), by_file.digest(), by_flags.digest()}) == 1


def test_each_profile_has_a_digest_of_its_own() -> None:
    digests = {profile: resolve(flags={"profile": profile}).policies.digest() for profile in PROFILES}
    assert len(set(digests.values())) == len(PROFILES)
