"""Prompt stores are off until they have an address, and their secrets are never shown."""

from __future__ import annotations

import pytest

from crl_stream.settings.model import Langfuse, MLflow
from settings.resolving import refusal, resolve


def test_both_stores_are_off_by_default() -> None:
    mirrors = resolve("").mirrors
    assert (mirrors.langfuse, mirrors.mlflow, mirrors.configured) == (Langfuse(), MLflow(), False)


def test_a_store_comes_from_a_file_and_its_secrets_from_the_environment() -> None:
    text = '[mirrors.langfuse]\nhost = "https://langfuse.example.com/"\npublic_key = "pk"\nlabel = "live"'
    mirrors = resolve(text, environment={"CRL_MIRRORS_LANGFUSE_SECRET_KEY": "hush"}).mirrors
    assert mirrors.configured
    assert (mirrors.langfuse.host, mirrors.langfuse.label) == ("https://langfuse.example.com", "live")
    assert mirrors.langfuse.secret_key.get_secret_value() == "hush"
    assert "hush" not in repr(mirrors)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("mirrors.mlflow.host", "store.example.com", "Input should be an address like https://host"),
        ("mirrors.mlflow.host", "ftp://store", "Input should be an address like https://host"),
        ("mirrors.mlflow.host", "http://store:0", "Input should be an address like https://host"),
        ("mirrors.mlflow.host", "http://store?x=1", "Input should be an address like https://host"),
        ("mirrors.mlflow.host", "http://ada:hush@store", "without user and password"),
        ("mirrors.mlflow.alias", "v3", "MLflow keeps the aliases latest and v1, v2, ... for itself"),
        ("mirrors.mlflow.alias", "Latest", "MLflow keeps the aliases latest and v1, v2, ... for itself"),
        ("mirrors.mlflow.poll_seconds", "0", "greater than or equal to 0.1"),
        ("mirrors.langfuse.label", "latest", "Langfuse itself moves the label latest"),
        ("mirrors.langfuse.label", "Production", "should match pattern"),
        ("mirrors.langfuse.lable", "x", "There is no setting"),
        ("mirrors.opik.host", "http://store", "There is no setting"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name_and_without_secrets(name: str, value: str, said: str) -> None:
    error = refusal(flags={name: value})
    assert name in error.message
    assert said in error.message
    assert "hush" not in error.message
