"""Channels in ``crl.toml``: any number by name, checked like every other section, with no secret shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.cli.config import _plain, _variable
from crl_stream.errors import ConfigError
from crl_stream.notifiers.channels import KINDS
from settings.resolving import refusal, resolve

SECRET = "0123456789abcdef-not-to-be-shown"
OPS = f"""
[notifiers.ops]
kind = "webhook"
url = "https://ops.example.com/T0P-SECRET"
secret = "{SECRET}"
min_severity = "warning"
"""
ON_CALL = '[notifiers.on-call]\nkind = "webhook"\nurl = "https://a.example.com"\n'


def test_channels_are_there_by_name_in_the_order_of_the_file_with_their_own_settings() -> None:
    settings = resolve(OPS + '[notifiers.audit]\nkind = "file"\npath = "alerts.jsonl"\n[notifiers.a]\nkind = "log"\n')
    assert list(settings.notifiers) == ["ops", "audit", "a"]
    ops, audit = settings.notifiers["ops"], settings.notifiers["audit"]
    assert (ops.kind, ops.min_severity, ops.max_age_hours) == ("webhook", "warning", 24.0)
    assert audit.path == Path("alerts.jsonl")  # type: ignore[attr-defined]


def test_without_any_there_is_none() -> None:
    assert resolve().notifiers == {}


def test_every_setting_of_a_channel_is_shown_with_its_origin_and_a_secret_only_as_set() -> None:
    origins = resolve(OPS).origins
    shown = {name: (_plain(o.value), o.source) for name, o in origins.items() if name.startswith("notifiers.")}
    assert shown == {
        "notifiers.ops.kind": ("webhook", "crl.toml"),
        "notifiers.ops.min_severity": ("warning", "crl.toml"),
        "notifiers.ops.content": ("alerts", "default"),
        "notifiers.ops.max_age_hours": (24.0, "default"),
        "notifiers.ops.remind_after_minutes": (30.0, "default"),
        "notifiers.ops.timeout_seconds": (10.0, "default"),
        "notifiers.ops.give_up_after_hours": (0.0, "default"),
        "notifiers.ops.url": ("set", "crl.toml"),
        "notifiers.ops.secret": ("set", "crl.toml"),
    }


def test_the_environment_completes_a_channel_whatever_its_name() -> None:
    settings = resolve(ON_CALL, {"CRL_NOTIFIERS_ON_CALL_SECRET": SECRET, "CRL_NOTIFIERS_ON_CALL_MIN_SEVERITY": "info"})
    assert list(settings.notifiers) == ["on-call"]
    assert settings.notifiers["on-call"].secret.get_secret_value() == SECRET  # type: ignore[attr-defined]
    assert settings.origins["notifiers.on-call.secret"].source == "environment CRL_NOTIFIERS_ON_CALL_SECRET"
    for name in ("notifiers.on-call.secret", "notifiers.on-call.min_severity"):
        assert _variable(name) in {"CRL_NOTIFIERS_ON_CALL_SECRET", "CRL_NOTIFIERS_ON_CALL_MIN_SEVERITY"}


def test_a_channel_may_be_given_by_the_environment_or_by_flags_alone() -> None:
    by_environment = resolve(environment={"CRL_NOTIFIERS_A_KIND": "log", "CRL_NOTIFIERS_A_MAX_AGE_HOURS": "2"})
    by_flags = resolve(flags={"notifiers.a.kind": "log", "notifiers.a.max_age_hours": "2"})
    assert by_environment.notifiers == by_flags.notifiers
    assert by_flags.notifiers["a"].max_age_hours == 2.0


def test_a_flag_is_over_the_environment_and_that_over_the_file() -> None:
    environment = {"CRL_NOTIFIERS_OPS_MIN_SEVERITY": "critical"}
    assert resolve(OPS, environment).notifiers["ops"].min_severity == "critical"
    flags = {"notifiers.ops.min_severity": "info"}
    assert resolve(OPS, environment, flags).notifiers["ops"].min_severity == "info"


@pytest.mark.parametrize(
    ("toml", "said", "hint"),
    [
        (
            OPS.replace("min_severity", "min_severty"),
            "'notifiers.ops.min_severty' (crl.toml, line 6)",
            "ops.min_severity",
        ),
        (
            OPS.replace('"webhook"', '"webhok"'),
            "notifiers.ops.kind = 'webhok' (crl.toml, line 3)",
            "nearest name is webhook",
        ),
        (
            OPS.replace('"webhook"', "[]"),
            "notifiers.ops.kind = [] (crl.toml, line 3)",
            "one of apprise, file, log, webhook",
        ),
        (OPS.replace('kind = "webhook"\n', ""), "notifiers.ops has no kind", "set kind to one of"),
        (
            OPS.replace('"warning"', '"warn"'),
            "notifiers.ops.min_severity = 'warn' (crl.toml, line 6)",
            "crl config show",
        ),
        (
            '[notifiers.a]\nkind = "log"\npath = "x"\n',
            "'notifiers.a.path'",
            "a channel of kind log has the settings kind",
        ),
        ('[notifiers.a]\nkind = "file"\n', "notifiers.a.path is missing", "write it there"),
        ("[notifiers.a]\n", "There is no setting 'notifiers.a'", "[notifiers.a]"),
        ("notifiers = 3\n", "There is no setting 'notifiers'", "crl config show"),
        ("[notifiers]\nops = 3\n", "There is no setting 'notifiers.ops'", "[notifiers.ops]"),
        (
            '[notifiers."A B"]\nkind = "log"\n',
            "'A B' in [notifiers.'A B'] is not a valid channel name",
            "begin with a letter",
        ),
        (
            '[notifiers."a.b"]\nkind = "log"\n',
            "'a.b' in [notifiers.'a.b'] is not a valid channel name",
            "begin with a letter",
        ),
        ('[notifiers.a]\nkind = "log"\nmax_age_hours = true\n', "notifiers.a.max_age_hours = True", "crl config show"),
        ('[notifiers.a]\nkind = "log"\nmax_age_hours = nan\n', "notifiers.a.max_age_hours = nan", "crl config show"),
        (
            '[notifiers.a-b]\nkind = "log"\n[notifiers.a_b]\nkind = "log"\n',
            "have the same name in the environment",
            "rename one",
        ),
    ],
)
def test_a_channel_that_is_not_right_is_refused_by_name_with_what_to_write_instead(
    toml: str, said: str, hint: str
) -> None:
    error = refusal(toml)
    assert said in error.message
    assert error.hint is not None
    assert hint in error.hint


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("secret", '"short-T0P"'),
        ("secret", "1234567"),
        ("secret", '"whsec_no base64 T0P-SECRET"'),
        ("url", '"ftp://T0P-SECRET"'),
        ("url", '"T0P-SECRET"'),
        ("url", '"https://[T0P-SECRET"'),
        ("url", '"https://ops.example.com:70000/T0P-SECRET"'),
    ],
)
def test_a_secret_that_cannot_be_used_disables_its_channel_and_is_not_shown(field: str, value: str) -> None:
    lines = [f"{field} = {value}" if line.startswith(field) else line for line in OPS.splitlines()]
    settings = resolve("\n".join([*lines, "[notifiers.a]", 'kind = "log"']))
    assert list(settings.notifiers) == ["a"]
    disabled = settings.disabled_notifiers["ops"]
    assert disabled.reason.startswith(f"notifiers.ops.{field} (crl.toml, line ")
    assert "cannot be used: " in disabled.reason
    assert disabled.hint == f"set CRL_NOTIFIERS_OPS_{field.upper()}"
    assert value.strip('"') not in repr(settings)


@pytest.mark.parametrize(
    ("toml", "environment", "missing"),
    [
        (ON_CALL, {}, "secret"),
        (ON_CALL, {"CRL_NOTIFIERS_ON_CALL_SECRET": ""}, "secret"),
        (ON_CALL + 'secret = ""\n', {}, "secret"),
        ('[notifiers.on-call]\nkind = "webhook"\n', {}, "url"),
        ('[notifiers.on-call]\nkind = "apprise"\n', {}, "url"),
        ('[notifiers.on-call]\nkind = "apprise"\nurl = ""\n', {}, "url"),
        ("", {"CRL_NOTIFIERS_ON_CALL_KIND": "webhook"}, "url"),
    ],
)
def test_a_secret_that_is_missing_disables_its_channel_and_nothing_else(
    toml: str, environment: dict[str, str], missing: str
) -> None:
    settings = resolve(toml + OPS, environment)
    assert list(settings.notifiers) == ["ops"]
    ((name, disabled),) = settings.disabled_notifiers.items()
    assert name in {"on-call", "on_call"}
    assert f".{missing} (" in disabled.reason and disabled.reason.endswith("is missing")
    assert disabled.hint == f"set CRL_NOTIFIERS_ON_CALL_{missing.upper()}"


def test_what_is_written_wrong_in_a_channel_without_its_secret_is_an_error_all_the_same() -> None:
    assert "notifiers.on-call.min_severity = 'warn'" in refusal(ON_CALL + 'min_severity = "warn"\n').message


def test_a_secret_is_in_no_text_of_the_settings() -> None:
    settings = resolve(OPS)
    for text in (repr(settings), str(settings.notifiers), settings.notifiers["ops"].place()):
        assert SECRET not in text
        assert "T0P-SECRET" not in text


@pytest.mark.parametrize("name", ["CRL_NOTIFIERS", "CRL_NOTIFIERS_", "CRL_NOTIFIERS_OPS", "CRL_NOTIFIERS_OPS_SECRT"])
def test_a_variable_that_is_no_setting_of_a_channel_is_refused(name: str) -> None:
    assert f"There is no setting {name} (environment)" in refusal(OPS, {name: "1"}).message


values = st.sampled_from(["1", "-1", "nan", "true", '"x"', '""', "[]", "{}", "{a = 1}", "1979-05-27", "9" * 40])
fields = sorted({field for kind in KINDS.values() for field in kind.options.model_fields})


@given(st.sampled_from(sorted(KINDS)), st.sampled_from(fields), values)
def test_any_value_of_any_setting_is_taken_or_refused_with_a_hint(kind: str, field: str, value: Any) -> None:
    toml = f"[notifiers.a]\n{field} = {value}\n" + ("" if field == "kind" else f'kind = "{kind}"\n')
    settings, refused = None, None
    try:
        settings = resolve(toml)
    except ConfigError as error:
        refused = error
    if settings is None:
        assert refused is not None and "(crl.toml, line " in refused.message and refused.hint
    else:  # a channel, or an entry among the disabled ones
        assert {"a"} == {*settings.notifiers, *settings.disabled_notifiers}
