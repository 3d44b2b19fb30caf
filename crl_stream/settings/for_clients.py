"""The settings of a client, from the environment and an explicitly named file, never from the current folder.

Agents work in other people's repositories, and a ``crl.toml`` there could send outcomes, and the password from the
environment, anywhere. Only the sections that a client needs are read, so a client ignores mistakes in a worker's
settings or a missing secret of a notifier.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from crl_stream.core.policy import Policy, PolicySet
from crl_stream.errors import ConfigError
from crl_stream.settings.layers import (
    ALIASES,
    NOT_SETTINGS,
    PREFIX,
    TEST_PREFIX,
    Settings,
    nearest_name,
    read_section,
)
from crl_stream.settings.model import SECTIONS, Broker, Client, Kafka, Proposer, Review, Telemetry, Worker, leaves
from crl_stream.settings.notifiers import named_by
from crl_stream.settings.origin import Origin

READ: Final = ("kafka", "client", "broker")
"""The sections that a client reads."""


class ClientSettings(NamedTuple):
    """The settings of a client, and the problems found in them."""

    settings: Settings
    without_kafka: str
    """Why the client must not connect; empty if it may.

    Without a readable address, the client must not use the default, which may be someone else's Kafka.
    """
    notes: tuple[str, ...]
    """Other problems, one sentence each; a default is used instead."""


def load_client_settings(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    strict: bool = False,
) -> ClientSettings:
    """Load settings from ``flags``, the environment (``CRL_*``) and a file; earlier sources override later ones.

    If ``file`` is None, the file that ``CRL_CONFIG`` names is read, if any. ``environment`` defaults to the process's
    own. Raises ``ConfigError`` only if ``strict``. An unknown ``CRL_*`` variable is always just a note.
    """
    environment = os.environ if environment is None else environment
    notes: list[str] = []
    without_kafka = ""
    chosen: dict[str, dict[str, Origin]] = {name: {} for name in READ}
    wrong: dict[str, ConfigError] = {}

    def take(name: str, origin: Origin) -> None:
        section, _, entry = name.partition(".")
        if section not in chosen:
            return
        if entry not in SECTIONS[section].model_fields:
            known = {each: None for each in leaves() if each.startswith(f"{section}.")}
            wrong.setdefault(
                section,
                ConfigError(
                    f"There is no setting {name!r} ({origin.source}).",
                    hint=f"see crl config show{nearest_name(name, known)}",
                ),
            )
        else:
            chosen[section][name] = origin

    try:
        for name, origin in _file(file, environment):
            take(name, origin)
    except ConfigError as error:
        if strict:
            raise
        without_kafka = str(error)
    unknown = []
    for name, origin in variables(environment):
        if name:
            take(name, origin)
        else:
            unknown.append(origin.source)
    if unknown:
        notes.append(_about_unknown(unknown))
    for name, value in (flags or {}).items():
        take(name, Origin(value, f"flag --set {name}"))
    read, why, of_sections = _sections(chosen, wrong, strict=strict)
    without_kafka, notes = without_kafka or why, notes + of_sections
    origins = {
        name: Origin(getattr(read[section], name.partition(".")[2]), origin.source)
        for section, named in chosen.items()
        for name, origin in named.items()
    }
    return ClientSettings(settings_of_client(**read, origins=origins), without_kafka.replace("\n", " "), tuple(notes))


def _sections(
    chosen: Mapping[str, dict[str, Origin]], wrong: Mapping[str, ConfigError], *, strict: bool
) -> tuple[dict[str, Any], str, list[str]]:
    """Return the sections by name, why the client must not connect, and notes about sections that use defaults."""
    read: dict[str, Any] = {}
    without_kafka, notes = "", list[str]()
    for section in READ:
        try:
            if section in wrong:
                raise wrong[section]
            read[section] = read_section(section, chosen[section])
        except ConfigError as error:
            if strict:
                raise
            read[section] = SECTIONS[section]()
            if section == "kafka":
                without_kafka = str(error)
            else:
                notes.append(f"{error.message} The defaults of [{section}] are used.")
    return read, without_kafka, notes


def settings_of_client(
    kafka: Kafka | None = None,
    client: Client | None = None,
    broker: Broker | None = None,
    origins: Mapping[str, Origin] | None = None,
) -> Settings:
    """Return settings with defaults for everything that a client does not read.

    ``kafka``, ``client`` and ``broker`` are the sections a client reads; ``origins`` says where their values came from.
    """
    return Settings(
        kafka=kafka or Kafka(),
        client=client or Client(),
        broker=broker or Broker(),
        worker=Worker(),
        proposer=Proposer(),
        review=Review(),
        telemetry=Telemetry(),
        notifiers={},
        disabled_notifiers={},
        policies=PolicySet(Policy()),
        origins=origins or {},
    )


def _file(file: Path | None, environment: Mapping[str, str]) -> Iterator[tuple[str, Origin]]:
    path = file or (Path(environment["CRL_CONFIG"]) if environment.get("CRL_CONFIG") else None)
    if path is None:
        return
    try:
        page = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not TOML: {error}.", hint="crl config init writes a file to start from"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}.", hint="CRL_CONFIG names the file") from error
    for section in READ:
        entries = page.get(section, {})
        if not isinstance(entries, dict):
            raise ConfigError(f"{section} is not a section ({path}).", hint=f"write [{section}]")
        for name, value in entries.items():
            yield f"{section}.{name}", Origin(value, path.name)


def variables(environment: Mapping[str, str]) -> Iterator[tuple[str, Origin]]:
    """Yield the name and origin of each setting in the environment; the name of an unknown variable is empty."""
    names = {PREFIX + name.replace(".", "_").upper(): name for name in leaves()} | ALIASES
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable.startswith(TEST_PREFIX) or variable in NOT_SETTINGS:
            continue
        if variable in names:
            if environment[variable] != "":
                yield names[variable], Origin(environment[variable], f"environment {variable}")
        elif named_by(variable) is None:
            yield "", Origin(environment[variable], variable)


def _about_unknown(variables: list[str]) -> str:
    names = {PREFIX + name.replace(".", "_").upper(): None for name in leaves()} | dict.fromkeys(ALIASES)
    shown = [f"{variable}{nearest_name(variable, names).replace('; the', ' (the')}" for variable in variables]
    shown = [text + ")" if " (the" in text else text for text in shown]
    return f"not a setting, and ignored: {', '.join(shown)}"
