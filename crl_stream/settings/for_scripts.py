"""The settings of the guide's scripts: those of a client, plus the limits and folders of a store.

Like agents, scripts run in other people's folders, so the client's rule applies: the environment, arguments and a named
file count; a ``crl.toml`` that happens to be in the current folder does not. Settings that concern only workers
and notifiers are not read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from crl_stream.settings.for_clients import load_client_settings, variables
from crl_stream.settings.layers import Settings, resolve
from crl_stream.settings.model import POLICY_SECTIONS, is_policy
from crl_stream.settings.origin import Origin
from crl_stream.settings.settings_file import FILE, SettingsFile

READ: Final = frozenset({*POLICY_SECTIONS, "telemetry", "proposer", "profile", "agents", "tasks"})
"""The sections that are read besides those of a client."""


class ScriptSettings(NamedTuple):
    """The settings of a script, and the problems found in them; the fields are those of ``ClientSettings``."""

    settings: Settings
    without_kafka: str
    notes: tuple[str, ...]


def _is_read(name: str) -> bool:
    """Return whether a script reads a setting; of ``[review]`` it reads only what belongs to the policy."""
    section = name.partition(".")[0]
    return section in READ and (section != "review" or is_policy(name))


def load_script_settings(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> ScriptSettings:
    """Load settings from ``flags``, the environment (``CRL_*``) and a file; earlier sources override later ones.

    ``file`` defaults to the one that ``CRL_CONFIG`` names. Raises ``ConfigError`` for a bad value. The returned notes
    say what was not read.
    """
    environment = os.environ if environment is None else environment
    client = load_client_settings(file=file, environment=environment, flags=flags, strict=True)
    source = SettingsFile.find(file, environment, here=False)
    layers = [*(source.layer() if source else ()), *variables(environment)]
    layers += [(name, Origin(value, f"flag --set {name}")) for name, value in (flags or {}).items()]
    rest = resolve([(name, origin) for name, origin in layers if _is_read(name)], source)
    notes = client.notes
    if source is None and Path(FILE).is_file():
        named = f"set CRL_CONFIG={FILE} if it is yours"
        notes += (f"the {FILE} in this folder is not read: scripts use only CRL_* variables and a named file; {named}",)
    found = client.settings
    settings = replace(
        rest,
        kafka=found.kafka,
        client=found.client,
        broker=found.broker,
        origins={**rest.origins, **found.origins},
    )
    return ScriptSettings(settings, client.without_kafka, notes)
