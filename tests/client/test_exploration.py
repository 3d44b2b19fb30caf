"""An exploring invocation tries the variant that its policy chooses, and no exploration policy can harm an agent."""

from __future__ import annotations

from typing import Any

import pytest

from client.exploring import ACTIVE, OTHERS, exploring, tried
from crl_stream.client import Client
from crl_stream.client.exploration import policies, uniform
from crl_stream.core import messages as m
from crl_stream.errors import ConfigError
from crl_stream.settings import Settings


def test_the_policies_are_the_files_of_the_folder() -> None:
    assert list(policies()) == ["uniform"]


def test_by_default_each_that_may_be_tried_is_tried_as_often_as_any(settings: Settings) -> None:
    counts = tried(exploring(settings))
    assert counts.keys() == OTHERS.keys()
    assert min(counts.values()) > 80


@pytest.mark.parametrize("name", ["no-such", "", None, ["uniform"]])
def test_an_unknown_policy_is_said_and_the_default_used_or_raised_where_strict(
    settings: Settings, name: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert tried(exploring(settings, exploration_policy=name)).keys() == OTHERS.keys()
    assert "there is no exploration policy" in caplog.text
    with pytest.raises(ConfigError, match="There is no exploration policy"):
        exploring(settings, exploration_policy=name, strict=True)
    with pytest.raises(ConfigError, match="There is no exploration policy"):
        Client(settings, exploration_policy=name, strict=True)


def _fails(*_: Any) -> m.RegisteredVariant:
    raise ZeroDivisionError


def _answers_another(*_: Any) -> m.RegisteredVariant:
    return m.RegisteredVariant(variant_id="barred", state="seen", quarantined=False)


@pytest.mark.parametrize("choose", [_fails, _answers_another, lambda *_: None])
def test_a_policy_that_fails_or_names_what_it_was_not_offered_leaves_the_active_variant(
    settings: Settings, choose: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(uniform, "choose", choose)
    assert tried(exploring(settings)) == {ACTIVE.variant_id: 300}
    assert caplog.text.count("the exploration policy failed") == 1
