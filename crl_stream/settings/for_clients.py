"""The settings of a client, from the environment and an explicitly named file, never from the current folder.

Agents work in other people's repositories, and a ``crl.toml`` there could send outcomes, and the password from the
environment, anywhere. Only the sections that a client needs are read, so a client ignores mistakes in a worker's
settings or a missing secret of a notifier.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from crl_stream.errors import ConfigError
from crl_stream.settings.fields import read_section
from crl_stream.settings.names import (
    ALIASES,
    BRIDGE_PREFIX,
    NOTIFIER_PREFIX,
    all_names,
    is_setting,
    nearest_name,
    variable_of,
)
from crl_stream.settings.origin import Origin
from crl_stream.settings.runtime_sections import RUNTIME_SECTIONS, Broker, Client, Kafka, RuntimeSettings


class ClientSettings(NamedTuple):
    """The settings of a client, and the problems found in them."""

    settings: RuntimeSettings
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
    chosen: dict[str, dict[str, Origin]] = {name: {} for name in RUNTIME_SECTIONS}
    wrong: dict[str, ConfigError] = {}

    def take(name: str, origin: Origin) -> None:
        section, _, entry = name.partition(".")
        if section not in chosen:
            return
        if entry not in RUNTIME_SECTIONS[section].__struct_fields__:
            known = [f"{section}.{each}" for each in RUNTIME_SECTIONS[section].__struct_fields__]
            wrong.setdefault(
                section,
                ConfigError(
                    f"There is no setting {name!r} ({origin.source}).",
                    hint=f"see crl config show{nearest_name(name, known)}",
                ),
            )
        else:
            chosen[section][entry] = origin

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
        f"{section}.{entry}": Origin(getattr(read[section], entry), origin.source)
        for section, named in chosen.items()
        for entry, origin in named.items()
    }
    return ClientSettings(settings_of_client(**read, origins=origins), without_kafka.replace("\n", " "), tuple(notes))


def _sections(
    chosen: Mapping[str, dict[str, Origin]], wrong: Mapping[str, ConfigError], *, strict: bool
) -> tuple[dict[str, Any], str, list[str]]:
    """Return the sections by name, why the client must not connect, and notes about sections that use defaults."""
    read: dict[str, Any] = {}
    without_kafka, notes = "", list[str]()
    for section, kind in RUNTIME_SECTIONS.items():
        try:
            if section in wrong:
                raise wrong[section]
            read[section] = read_section(section, kind, chosen[section])
        except ConfigError as error:
            if strict:
                raise
            read[section] = kind()
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
) -> RuntimeSettings:
    """Return the settings of a client; a section that is not given has its defaults.

    ``origins`` says where the values of ``kafka``, ``client`` and ``broker`` came from.
    """
    return RuntimeSettings(
        kafka=kafka or Kafka(), client=client or Client(), broker=broker or Broker(), origins=origins or {}
    )


def _file(file: Path | None, environment: Mapping[str, str]) -> Iterator[tuple[str, Origin]]:
    path = file or (Path(environment["CRL_CONFIG"]) if environment.get("CRL_CONFIG") else None)
    if path is None:
        return
    import tomllib  # most clients read no file

    try:
        page = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not TOML: {error}.", hint="crl config init writes a file to start from"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}.", hint="CRL_CONFIG names the file") from error
    for section in RUNTIME_SECTIONS:
        entries = page.get(section, {})
        if not isinstance(entries, dict):
            raise ConfigError(f"{section} is not a section ({path}).", hint=f"write [{section}]")
        for name, value in entries.items():
            yield f"{section}.{name}", Origin(value, path.name)


def variables(environment: Mapping[str, str]) -> Iterator[tuple[str, Origin]]:
    """Yield the name and origin of each setting in the environment; the name of an unknown variable is empty.

    A client does not use notifiers, so their variables are skipped.
    """
    names = _OWN_VARIABLES
    for variable in sorted(filter(is_setting, environment)):
        if variable not in names and not variable.startswith(NOTIFIER_PREFIX):
            names = _all_variables()
        if variable in names:
            if environment[variable] != "":
                yield names[variable], Origin(environment[variable], f"environment {variable}")
        elif not variable.startswith((NOTIFIER_PREFIX, BRIDGE_PREFIX)):
            yield "", Origin(environment[variable], variable)


_OWN_VARIABLES: Final = {
    variable_of(f"{section}.{entry}"): f"{section}.{entry}"
    for section, kind in RUNTIME_SECTIONS.items()
    for entry in kind.__struct_fields__
} | ALIASES


def _all_variables() -> dict[str, str]:
    return {variable_of(name): name for name in all_names()} | ALIASES


def _about_unknown(variables: list[str]) -> str:
    names = _all_variables()
    shown = [f"{variable}{nearest_name(variable, names).replace('; the', ' (the')}" for variable in variables]
    shown = [text + ")" if " (the" in text else text for text in shown]
    return f"not a setting, and ignored: {', '.join(shown)}"
