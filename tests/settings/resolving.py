"""Settings for a test: only the layers that it names, none from the machine."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from crl_stream.errors import ConfigError
from crl_stream.settings import Settings, load_settings


def resolve(
    toml: str = "", environment: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> Settings:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "crl.toml"
        file.write_text(toml, encoding="utf-8")
        return load_settings(file=file, environment=environment or {}, flags=flags or {})


def refusal(
    toml: str = "", environment: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        resolve(toml, environment, flags)
    assert caught.value.hint, "every error says what to do next"
    return caught.value


def variable(name: str) -> str:
    return "CRL_" + name.replace(".", "_").upper()


def table(name: str, value: str) -> str:
    """Return a setting as TOML: its section and one line."""
    section, _, entry = name.rpartition(".")
    return f"[{section}]\n{entry} = {value}\n"
