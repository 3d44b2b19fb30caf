"""The settings of the guide's scripts: what a client goes by, and the limits and folders of a store beside it.

Scripts run in folders of strangers as agents do, so the rule is the client's: the environment, arguments and a file
that is named count, a ``crl.toml`` that merely lies in the current folder does not.  What concerns only workers and
notifiers is not read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from crl_stream.settings.for_clients import ClientSettings, load_client_settings, variables
from crl_stream.settings.layers import resolve
from crl_stream.settings.model import POLICY_SECTIONS
from crl_stream.settings.origin import Origin
from crl_stream.settings.settings_file import FILE, SettingsFile

READ: Final = frozenset({*POLICY_SECTIONS, "telemetry", "proposer", "profile", "agents", "tasks"})
"""What is read beside the sections of a client."""


def load_script_settings(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> ClientSettings:
    """Read the environment (``CRL_*``), ``flags`` over it, and under both ``file``, else the one ``CRL_CONFIG`` names.

    ``ConfigError`` says what is wrong with something that is read.  The notes say what was not read.
    """
    environment = os.environ if environment is None else environment
    client = load_client_settings(file=file, environment=environment, flags=flags, strict=True)
    source = SettingsFile.find(file, environment, here=False)
    layers = [*(source.layer() if source else ()), *variables(environment)]
    layers += [(name, Origin(value, f"flag --set {name}")) for name, value in (flags or {}).items()]
    rest = resolve([(name, origin) for name, origin in layers if name.partition(".")[0] in READ], source)
    notes = client.notes
    if source is None and Path(FILE).is_file():
        named = f"set CRL_CONFIG={FILE} if it is yours"
        notes += (f"the {FILE} of this folder is not read: scripts go by CRL_* and a file that is named; {named}",)
    settings = replace(
        client.settings,
        telemetry=rest.telemetry,
        proposer=rest.proposer,
        policies=rest.policies,
        profile=rest.profile,
        origins={**rest.origins, **client.settings.origins},
        file=rest.file,
    )
    return ClientSettings(settings, client.without_kafka, notes)
