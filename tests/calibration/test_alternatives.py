"""The recommended settings produce exactly the policy that was measured, and change nothing else in a fleet."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from msgspec.structs import replace

from calibration.worlds import KEY
from crl_stream.calibration.alternatives import PRESENT, alternatives
from crl_stream.calibration.fragment import fragment
from crl_stream.core.policy import Degradation, Learning, Operations, Policy
from crl_stream.settings import load_settings

OWN = """
profile = "production"
[operations]
mode = "shadow"
[agents.backend-architect.degradation]
lookback_window = 30
[tasks."backend-architect/other".auto_apply]
q_threshold = 0.95
"""


@pytest.mark.parametrize("text", ["", 'profile = "production"\n', OWN])
def test_every_fragment_added_to_the_settings_gives_the_task_the_policy_that_was_measured(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "crl.toml"
    file.write_text(text, encoding="utf-8")
    settings = load_settings(file=file, environment={}).policies
    in_force = replace(Policy(), degradation=Degradation(lookback_window=35), learning=Learning(rate=0.2))
    for present in (settings.for_task(KEY), in_force):
        for one in alternatives(present):
            added = fragment(KEY, one.policy, settings)
            tomllib.loads(added)
            file.write_text(f"{text}\n{added}", encoding="utf-8")
            result = load_settings(file=file, environment={}).policies
            assert result.for_task(KEY) == one.policy
            assert result.default == settings.default, "the default policy, and so other tasks, are unchanged"
    assert fragment(KEY, settings.for_task(KEY), settings) == ""


def test_a_profile_is_the_profile_whatever_settings_are_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {one.name: one.policy for one in alternatives(Policy())}
    (tmp_path / "crl.toml").write_text('[degradation]\nguard = "evidence"\nlookback_window = 33\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert {one.name: one.policy for one in alternatives(Policy())} == before


def test_the_present_policy_comes_first_and_equal_policies_are_measured_once() -> None:
    found = alternatives(Policy())
    assert (found[0].name, found[0].same_as) == (PRESENT, ("guide",))
    assert len({one.name for one in found}) == len(found)
    assert [one.policy for one in found].count(Policy()) == 1


def test_no_alternative_changes_what_outcomes_mean_or_what_the_engine_may_do() -> None:
    present = Policy(learning=Learning(rate=0.3), operations=Operations(mode="shadow", exploration=0.05))
    for one in alternatives(present):
        assert (one.policy.learning, one.policy.operations) == (present.learning, present.operations)


def test_a_policy_that_a_user_names_is_compared_as_it_is_except_for_the_mode() -> None:
    named = Policy(learning=Learning(rate=0.3), operations=Operations(mode="observe", exploration=0.1))
    present, own = alternatives(Policy(), [("own", named)], only_named=True)
    assert (present.name, own.name) == (PRESENT, "own")
    assert own.policy.learning == named.learning
    assert own.policy.operations == Operations(mode="enforce", exploration=0.1)
