"""The file that ``crl config init`` writes: it loads, and it has the guard on."""

from __future__ import annotations

import tomllib

import pytest

from crl_stream.settings import PROFILES
from crl_stream.settings.profiles import MEANING
from crl_stream.settings.template import render
from settings.resolving import resolve


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_the_file_loads_with_the_evidence_guard_on_whatever_the_profile(profile: str) -> None:
    settings = resolve(render(profile))
    assert settings.profile == profile
    assert settings.policies.default.degradation.guard == "evidence"
    assert settings.origins["degradation.guard"].source == "crl.toml"


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
    assert settings.policies.canonical() == b'{"default":{"degradation":{"guard":"evidence"}}}'
