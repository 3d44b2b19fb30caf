"""Bridges in ``crl.toml``: off unless named, checked like every other section, with no secret shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crl_stream.bridges.kinds import KINDS
from crl_stream.bridges.kinds.otlp import OtlpOptions
from crl_stream.cli.processes import processes_for
from crl_stream.errors import ConfigError
from crl_stream.settings import load_client_settings, load_settings
from crl_stream.settings.layers import Settings
from crl_stream.settings.policy_file import read_policy_file

SPANS = '[bridges.spans]\nkind = "otlp"\n'
SCORES = """
[bridges.scores]
kind = "langfuse"
url = "https://langfuse.example.org"
public_key = "pk"
evaluator = "helpful"
score_min = 1
score_max = 5
"""
KEY = "sk-very-secret"


def resolve(tmp_path: Path, text: str = "", environment: dict[str, str] | None = None) -> Settings:
    file = tmp_path / "named.toml"
    file.write_text(text, encoding="utf-8")
    return load_settings(file=file, environment=environment or {})


def test_without_a_section_there_is_no_bridge_and_no_process_for_one(tmp_path: Path) -> None:
    settings = resolve(tmp_path)
    assert (settings.bridges, settings.disabled_bridges) == ({}, {})
    assert "bridge" not in processes_for(settings)
    assert "bridge" in processes_for(resolve(tmp_path, SPANS))


def test_a_bridge_has_the_settings_of_its_kind_and_the_environment_completes_it(tmp_path: Path) -> None:
    settings = resolve(tmp_path, SPANS + SCORES, {"CRL_BRIDGES_SCORES_SECRET_KEY": KEY, "CRL_BRIDGES_SPANS_TOPIC": "t"})
    spans: Any = settings.bridges["spans"]
    scores: Any = settings.bridges["scores"]
    assert (spans.source(), spans.encoding, scores.source()) == ("t", "auto", "")
    assert (scores.scale.quality(3), scores.secret_key.get_secret_value()) == (0.5, KEY)
    assert KEY not in str(settings.origins)
    assert settings.origins["bridges.spans.topic"].source == "environment CRL_BRIDGES_SPANS_TOPIC"


def test_each_signal_has_the_topic_that_the_collector_uses() -> None:
    assert OtlpOptions(kind="otlp").source() == "otlp_spans"
    assert OtlpOptions(kind="otlp", signal="logs").source() == "otlp_logs"


def test_a_missing_secret_disables_its_bridge_and_nothing_else(tmp_path: Path) -> None:
    settings = resolve(tmp_path, SPANS + SCORES)
    assert list(settings.bridges) == ["spans"]
    assert settings.disabled_bridges["scores"].hint == "set CRL_BRIDGES_SCORES_SECRET_KEY"
    assert "bridge" not in processes_for(resolve(tmp_path, SCORES)), "a process without a bridge would end at once"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[bridges.spans]\n", "There is no setting 'bridges.spans'"),
        ('[bridges.spans]\ntopic = "t"\n', "bridges.spans has no kind"),
        ('[bridges.spans]\nkind = "otel"\n', "there is no such kind"),
        (SPANS + 'signal = "metrics"\n', "bridges.spans.signal = 'metrics'"),
        (SPANS + "score_min = 1\n", "two different finite numbers"),
        (SPANS + 'topik = "t"\n', "There is no setting 'bridges.spans.topik'"),
        (SPANS + 'topic = "a b"\n', "bridges.spans.topic"),
        (SPANS + "default_variant = true\n", "should not be true or false"),
        ('[bridges.Spans]\nkind = "otlp"\n', "not a valid bridge name"),
        ('[bridges.rules]\nkind = "langsmith"\nevaluator = "e"\nport = 0\nsecret = "x"\n', "bridges.rules.port"),
        ('[bridges.e]\nkind = "cloudevents"\n', "bridges.e.topic is missing"),
    ],
)
def test_a_mistake_is_one_error_with_a_hint(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve(tmp_path, text)
    assert message in error.value.message
    assert error.value.hint


def test_a_file_in_the_current_folder_brings_no_bridge_until_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crl.toml").write_text(SPANS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    settings = load_settings(environment={})
    assert settings.bridges == {}
    assert settings.untrusted is not None
    assert "bridges.spans.kind" in settings.untrusted.names


def test_clients_and_policies_do_not_care_about_bridges(tmp_path: Path) -> None:
    found = load_client_settings(environment={"CRL_BRIDGES_SCORES_SECRET_KEY": KEY})
    assert not any("BRIDGES" in note for note in found.notes)
    file = tmp_path / "crl.toml"
    file.write_text('[bridges.spans]\nkind = "nonsense"\n', encoding="utf-8")
    assert read_policy_file(file)


def test_every_kind_says_where_its_input_comes_from() -> None:
    assert {name: kind.arrives for name, kind in KINDS.items()} == {
        "cloudevents": "kafka",
        "langfuse": "pull",
        "langsmith": "push",
        "otlp": "kafka",
    }
    assert all((kind.pull is not None) == (kind.arrives == "pull") for kind in KINDS.values())
