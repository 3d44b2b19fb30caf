"""Settings have five layers, each overriding the previous one; every value is shown with the name of its layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.errors import ConfigError
from crl_stream.settings import PROFILES, load_settings
from crl_stream.settings.model import leaves
from settings.resolving import refusal, resolve, table, variable

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "degradation.lookback_window": st.integers(2, 1000),
    "degradation.success_drop": st.floats(0, 1),
    "degradation.guard": st.sampled_from(["none", "evidence"]),
    "auto_apply.q_threshold": st.floats(-1, 1),
    "auto_apply.min_samples": st.integers(1, 1_000_000_000),
    "operations.exploration": st.floats(0, 1),
    "kafka.partitions": st.integers(1, 1024),
    "kafka.topic_prefix": st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
    "worker.web_port": st.integers(0, 65_535),
    "worker.commit_interval_seconds": st.floats(0.05, 60),
    "broker.port": st.integers(1, 65_535),
}
LAYERS = ["file", "environment", "flag"]
layer_values = st.sampled_from(sorted(VALUES)).flatmap(
    lambda name: st.tuples(st.just(name), st.dictionaries(st.sampled_from(LAYERS), VALUES[name]))
)


def written(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


@given(st.sampled_from(sorted(PROFILES)), layer_values)
def test_the_highest_layer_that_names_a_setting_decides_it_and_is_its_origin(
    profile: str, chosen: tuple[str, dict[str, Any]]
) -> None:
    name, by_layer = chosen
    toml = f'profile = "{profile}"\n' + (table(name, written(by_layer["file"])) if "file" in by_layer else "")
    environment = {variable(name): str(by_layer["environment"])} if "environment" in by_layer else {}
    flags = {name: str(by_layer["flag"])} if "flag" in by_layer else {}

    expected, source = leaves()[name], "default"
    if name in PROFILES[profile]:
        expected, source = PROFILES[profile][name], f"profile {profile}"
    sources = {"file": "crl.toml", "environment": f"environment {variable(name)}", "flag": f"flag --set {name}"}
    for layer in LAYERS:
        if layer in by_layer:
            expected, source = by_layer[layer], sources[layer]

    origin = resolve(toml, environment, flags).origins[name]
    assert (origin.value, origin.source) == (expected, source)
    assert type(origin.value) is type(expected)


@given(st.lists(layer_values, max_size=6))
def test_a_setting_is_not_moved_by_what_the_layers_say_of_others(chosen: list[tuple[str, dict[str, Any]]]) -> None:
    flags = {name: str(by_layer["flag"]) for name, by_layer in chosen if "flag" in by_layer}
    origins = resolve(flags=flags).origins
    assert {name for name, origin in origins.items() if origin.source != "default"} == flags.keys()


def test_with_no_layer_at_all_every_setting_is_there_with_its_default() -> None:
    origins = resolve().origins
    assert origins.keys() == leaves().keys() | {"profile"}
    assert {origin.source for origin in origins.values()} == {"default"}


def test_every_setting_can_be_given_in_the_environment_under_a_name_of_its_own() -> None:
    names = list(leaves())
    assert len({variable(name) for name in names}) == len(names)


def test_an_empty_variable_says_nothing() -> None:
    assert resolve("[kafka]\npartitions = 8\n", {"CRL_KAFKA_PARTITIONS": "", "CRL_PROFILE": ""}).kafka.partitions == 8


def test_the_short_names_of_the_environment_mean_the_long_ones() -> None:
    settings = resolve('profile = "guide"\n', {"CRL_BOOTSTRAP_SERVERS": "there:9092", "CRL_PROFILE": "conservative"})
    assert settings.kafka.bootstrap_servers == "there:9092"
    assert settings.profile == "conservative"
    assert settings.origins["profile"].source == "environment CRL_PROFILE"


def test_variables_of_other_programs_are_none_of_our_business() -> None:
    environment = {"PATH": "/bin", "CRLF": "1", "CRL_MAVEN_MIRROR": "http://mirror", "CRL_TEST_COMPOSE": "1"}
    assert resolve(environment=environment).origins == resolve().origins


def test_the_file_is_the_flag_s_else_the_variable_s_else_the_one_in_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(environment={}).policies.default.degradation.lookback_window == 20
    for number, name in enumerate(["crl.toml", "variable.toml", "flag.toml"], start=5):
        Path(name).write_text(f"[degradation]\nlookback_window = {number}\n", encoding="utf-8")
    environment = {"CRL_CONFIG": "variable.toml"}
    name = "degradation.lookback_window"
    assert load_settings(environment={}).origins[name].source == "crl.toml"
    assert load_settings(environment=environment).origins[name].value == 6
    assert load_settings(file=Path("flag.toml"), environment=environment).origins[name].value == 7


def test_a_file_that_was_named_and_is_not_there_is_an_error(tmp_path: Path) -> None:
    for missing in ({"file": tmp_path / "no.toml"}, {"environment": {"CRL_CONFIG": str(tmp_path / "no.toml")}}):
        with pytest.raises(ConfigError, match=r"no\.toml cannot be read"):
            load_settings(**({"environment": {}} | missing))


@pytest.mark.parametrize("content", [b"[kafka\n", b"kafka = \xff\n", b"[a]\n[a]\n"])
def test_a_file_that_is_not_toml_is_an_error_that_says_where(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "crl.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"crl\.toml (is not TOML|cannot be read)") as caught:
        load_settings(file=file, environment={})
    assert caught.value.hint


# -- profiles --------------------------------------------------------------------------------------
def test_the_conservative_profile_is_the_guide_s_advice_for_caution() -> None:
    auto_apply = resolve('profile = "conservative"\n').policies.default.auto_apply
    assert (auto_apply.q_threshold, auto_apply.min_samples) == (0.95, 20)


def test_the_guide_profile_is_the_guide_to_the_letter() -> None:
    assert resolve('profile = "guide"\n').policies.canonical() == b"{}"


def test_in_production_a_rollback_needs_the_evidence_and_nothing_is_tried_out() -> None:
    policy = resolve('profile = "production"\n').policies.default
    assert (policy.degradation.guard, policy.operations.exploration) == ("evidence", 0.0)


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_a_profile_names_only_settings_that_exist(profile: str) -> None:
    assert PROFILES[profile].keys() <= leaves().keys()


@pytest.mark.parametrize(
    ("layers", "where"),
    [
        (('profile = "conservativ"\n', {}, {}), "crl.toml, line 1"),
        (("", {"CRL_PROFILE": "conservativ"}, {}), "environment CRL_PROFILE"),
        (("", {}, {"profile": "conservativ"}), "flag --set profile"),
    ],
)
def test_a_profile_that_does_not_exist_is_refused_with_the_nearest_one(layers: Any, where: str) -> None:
    error = refusal(*layers)
    assert where in error.message
    assert error.hint is not None
    assert error.hint.endswith("the nearest name is conservative")


@pytest.mark.parametrize("value", ["3", "true", '["guide"]', "1979-05-27"])
def test_a_profile_that_is_no_name_is_refused_like_one_that_does_not_exist(value: str) -> None:
    assert "There is no profile" in refusal(f"profile = {value}\n").message
