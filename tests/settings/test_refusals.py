"""An error about a setting names the setting, its value, where it is set, and what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core.policy import PolicySet
from crl_stream.errors import ConfigError
from crl_stream.settings import Settings
from crl_stream.settings.model import leaves
from settings.resolving import refusal, resolve, table, variable

NAMES = sorted(leaves())


@given(st.sampled_from(NAMES), st.data())
def test_a_name_with_one_letter_missing_is_refused_in_every_layer_and_the_right_one_is_offered(
    name: str, data: st.DataObject
) -> None:
    section, _, entry = name.partition(".")
    at = data.draw(st.integers(0, len(entry) - 1))
    wrong = f"{section}.{entry[:at]}{entry[at + 1 :]}"
    if wrong in NAMES or wrong.endswith("."):
        return
    for error, source in [
        (refusal(table(wrong, "1")), "crl.toml, line 2"),
        (refusal(flags={wrong: "1"}), f"flag --set {wrong}"),
        (refusal(environment={variable(wrong): "1"}), "environment"),
    ]:
        assert offered(error, source) is not None


def offered(error: ConfigError, source: str) -> str | None:
    assert f"({source})" in error.message
    assert error.hint is not None
    return error.hint.partition("the nearest name is ")[2] or None


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("degradation.lookback_windw", "degradation.lookback_window"),
        ("degredation.success_drop", "degradation.success_drop"),
        ("auto_apply.qthreshold", "auto_apply.q_threshold"),
        ("kafka.bootstrap_server", "kafka.bootstrap_servers"),
        ("worker.webport", "worker.web_port"),
    ],
)
def test_a_slip_of_the_finger_is_answered_with_what_was_meant(wrong: str, right: str) -> None:
    assert offered(refusal(table(wrong, "1")), "crl.toml, line 2") == right
    assert offered(refusal(flags={wrong: "1"}), f"flag --set {wrong}") == right
    assert offered(refusal(environment={variable(wrong): "1"}), "environment") == variable(right)


@pytest.mark.parametrize("name", ["kafka", "degradation", "nonsense", "a.b.c", "degradation.lookback_window.days", ""])
def test_a_name_that_is_no_setting_is_refused(name: str) -> None:
    assert f"There is no setting {name!r}" in refusal(flags={name: "1"}).message


@pytest.mark.parametrize("name", ["CRL_CONFIGURATION", "CRL_MAVEN_MIRRORS", "CRL_", "CRL_AGENTS_X", "CRL_TESTING"])
def test_a_variable_that_only_looks_like_a_known_one_is_refused(name: str) -> None:
    assert f"There is no setting {name} (environment)" in refusal(environment={name: "1"}).message


WRONG = [
    ("degradation.lookback_window", "1"),
    ("degradation.lookback_window", "1001"),
    ("degradation.lookback_window", '"20"'),
    ("degradation.lookback_window", "20.5"),
    ("degradation.success_drop", "1.01"),
    ("degradation.success_drop", "-0.1"),
    ("degradation.success_drop", "nan"),
    ("degradation.guard", '"evidenc"'),
    ("degradation.guard", "[]"),
    ("operations.mode", "true"),
    ("operations.pin_hours", "0"),
    ("learning.rate", "0.0"),
    ("proposals.create_below_q", "nan"),
    ("proposals.promote_gap", "inf"),
    ("kafka.partitions", "0"),
    ("kafka.partitions", '"many"'),
    ("kafka.partitions", "true"),
    ("kafka.partitions", "[4]"),
    ("kafka.topic_prefix", '"a b"'),
    ("kafka.security_protocol", '"TLS"'),
    ("worker.web_port", "65536"),
    ("worker.session_timeout_seconds", "nan"),
    ("worker.app_id", '""'),
    ("worker.data_dir", "3"),
    ("worker.store", '"disk"'),
    ("broker.port", "0"),
    ("broker.heap_mb", "1"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_value_of_the_wrong_type_or_size_is_refused_by_name_value_and_file(name: str, value: str) -> None:
    error = refusal(table(name, value))
    assert error.message.startswith(f"{name} = ")
    assert value.strip('"').lower() in error.message.lower()
    assert "(crl.toml, line 2)" in error.message
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("name", "value"), [(n, v.strip('"')) for n, v in WRONG if v not in {'"20"', '""', "[]", "3", "true"}]
)
def test_a_wrong_value_of_the_environment_or_of_a_flag_is_refused_the_same_way(name: str, value: str) -> None:
    for error, source in [
        (refusal(environment={variable(name): value}), f"environment {variable(name)}"),
        (refusal(flags={name: value}), f"flag --set {name}"),
    ]:
        assert error.message.startswith(f"{name} = {value!r} ({source}): ")


@given(st.sampled_from(NAMES), st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_no_text_whatever_gets_past_with_anything_but_a_setting_or_a_named_error(name: str, text: str) -> None:
    outcome = taken_or_refused({name: text})
    if isinstance(outcome, ConfigError):
        assert outcome.message.startswith(f"{name} = ")
        assert outcome.hint
    else:
        assert outcome.origins[name].source == f"flag --set {name}"
        assert PolicySet.parse(outcome.policies.canonical()) == outcome.policies


def taken_or_refused(flags: dict[str, str]) -> Settings | ConfigError:
    try:
        return resolve(flags=flags)
    except ConfigError as error:
        return error


toml_values = st.sampled_from(
    ["1", "-1", "0.5", "nan", "inf", "true", '"x"', '""', "[]", "[1]", "{a = 1}", "1979-05-27", "07:32:00", "9" * 40]
)


@given(
    st.sampled_from([*NAMES, "profile", "kafka", "agents", "agents.x", "tasks", "agents.x.degradation"]), toml_values
)
def test_any_value_at_any_place_of_a_file_is_taken_or_refused_with_a_hint(name: str, value: str) -> None:
    section, _, entry = name.rpartition(".")
    refused = None
    try:
        resolve((f"[{section}]\n" if section else "") + f"{entry} = {value}\n")
    except ConfigError as error:
        refused = error
    assert refused is None or ("(crl.toml, line " in refused.message and refused.hint)


@pytest.mark.parametrize("name", ["kafka.sasl_password", "worker.web_token"])
def test_a_secret_of_the_wrong_type_is_not_shown_in_the_error_about_it(name: str) -> None:
    error = refusal(table(name, "123456"))
    assert name in error.message
    assert "123456" not in str(error)


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ("# a comment\n\n[kafka]\n# another\npartitions = 0\n", 5),
        ("[kafka]\n'partitions' = 0\n", 2),
        ('kafka."partitions" = 0\n', 1),
        ("\nkafka = { replication_factor = 1, partitions = 0 }\n", 2),
        ("[kafka]\npartitions = [\n 1,\n 2,\n]\n", 2),
        ('[tasks."a/b".degradation]\nguard = "none"\nlookback_window = 1\n', 3),
        ("[degradation]\nguard = 'none'\n[agents.x.degradation]\nlookback_window = 1\n", 4),
    ],
)
def test_an_error_names_the_line_of_the_file_however_the_setting_is_written(toml: str, line: int) -> None:
    assert f"(crl.toml, line {line})" in refusal(toml).message


def test_an_error_about_a_long_value_stays_short() -> None:
    assert len(refusal(flags={"degradation.guard": "x" * 10_000}).message) < 300


def test_the_errors_of_one_file_are_the_same_each_time() -> None:
    messages: set[Any] = {refusal("[kafka]\npartitions = 0\nreplication_factor = 0\n").message for _ in range(3)}
    assert len(messages) == 1


@pytest.mark.parametrize("line", ["worker.web_port = {}", "kafka.topic_prefix = {}", "notifiers.a.kind = {}"])
def test_an_empty_table_in_place_of_a_value_is_refused_and_not_passed_over(line: str) -> None:
    with pytest.raises(ConfigError, match="line 1"):
        resolve(line)


def test_a_guardrail_metric_with_the_name_of_another_one_is_refused() -> None:
    error = refusal(table("guardrails.metrics", '["cost/alert/higher_is_worse/0.5/0"]'))
    assert "metrics: 'cost' is already the name of a metric" in error.message
