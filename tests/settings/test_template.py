"""The file that ``crl config init`` writes can be loaded, and has the effect of its profile."""

from __future__ import annotations

import tomllib

import pytest

from crl_stream.settings import PROFILES
from crl_stream.settings.profiles import MEANING
from crl_stream.settings.template import render
from settings.resolving import resolve


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_the_file_means_what_its_profile_says_and_nothing_else(profile: str) -> None:
    settings = resolve(render(profile))
    assert settings.profile == profile
    assert settings.policies == resolve(f'profile = "{profile}"').policies
    assert settings.origins["degradation.guard"].source == "crl.toml"


def test_the_guide_stays_the_guide_to_the_letter_and_production_asks_for_evidence() -> None:
    assert resolve(render("guide")).policies.canonical() == b"{}"
    assert resolve(render("production")).policies.default.degradation.guard == "evidence"


def test_the_file_explains_every_profile_there_is() -> None:
    text = render("guide")
    assert MEANING.keys() == PROFILES.keys()
    assert [meaning for meaning in MEANING.values() if meaning not in text] == []


def test_the_examples_in_its_comments_load_too() -> None:
    text = render("guide")
    examples = [line.removeprefix("# ") for line in text.splitlines() if line.startswith(("# [", "# look", "# q_"))]
    policies = resolve(text + "\n".join(examples)).policies
    assert set(policies.agents) == {"backend-architect"}
    assert set(policies.tasks) == {"backend-architect/api-design"}


def test_it_changes_nothing_but_what_it_gives_a_reason_for() -> None:
    chosen = {
        f"{section}.{name}"
        for section, part in tomllib.loads(render("guide")).items()
        if section != "profile"
        for name in part
    }
    settings = resolve(render("guide"))
    changed = {name for name, o in settings.origins.items() if o.source == "crl.toml" and name != "profile"}
    assert changed == chosen
    assert settings.policies == resolve().policies
