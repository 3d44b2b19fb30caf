"""Combines five layers into one value per setting, with its origin; errors suggest the nearest known name."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pydantic import ValidationError

from crl_stream.core.identity import TaskKey, is_identifier
from crl_stream.core.policy import Policy, PolicySet
from crl_stream.core.policy_size import too_large
from crl_stream.errors import ConfigError
from crl_stream.notifiers.options import Options
from crl_stream.sections import is_secret
from crl_stream.settings import notifiers
from crl_stream.settings.fields import Section, shown
from crl_stream.settings.fields import read_section as read_runtime_section
from crl_stream.settings.model import (
    POLICY_SECTIONS,
    SECTIONS,
    Mirrors,
    Proposer,
    Review,
    Telemetry,
    Web,
    Worker,
    is_policy,
    leaves,
)
from crl_stream.settings.named_sections import DisabledSection
from crl_stream.settings.names import ALIASES, BRIDGE_PREFIX, PREFIX, is_setting, nearest_name, variable_of
from crl_stream.settings.origin import Origin
from crl_stream.settings.profiles import PROFILES
from crl_stream.settings.runtime_sections import RuntimeSettings
from crl_stream.settings.settings_file import FILE, OVERRIDES, SettingsFile
from crl_stream.settings.trust import Untrusted, was_trusted

if TYPE_CHECKING:
    from crl_stream.bridges.options import BridgeOptions

BRIDGES: Final = "bridges."
"""First part of the names of a bridge's settings; the code of bridges is loaded only if there are any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(RuntimeSettings):
    """All settings, resolved. Overrides are named ``agents.<name>.<section>.<field>`` in ``origins``."""

    worker: Worker
    proposer: Proposer
    review: Review
    telemetry: Telemetry
    web: Web
    notifiers: Mapping[str, Options]
    """The notifier channels by name, in the order of the file."""
    disabled_notifiers: Mapping[str, DisabledSection]
    """Notifier channels that lack a required secret."""
    policies: PolicySet
    profile: str = "guide"
    bridges: Mapping[str, BridgeOptions] = field(default_factory=dict)
    """The bridges by name, in the order of the file."""
    disabled_bridges: Mapping[str, DisabledSection] = field(default_factory=dict)
    """Bridges that lack a required secret."""
    mirrors: Mirrors = field(default_factory=Mirrors)
    """The prompt stores whose labels follow the active variants."""
    file: Path | None = None
    """The settings file that was read."""
    untrusted: Untrusted | None = None
    """Set if ``file`` was found in the current folder and some of its settings are ignored."""


def load_settings(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Combine the layers; raises ``ConfigError``, which says what is wrong and where, and what to write instead.

    If ``file`` is None, the file that ``CRL_CONFIG`` names is read, else ``crl.toml`` in the current folder if it
    exists. Until the latter is trusted (``settings.trust``), only its limits and policies count;
    ``Settings.untrusted`` lists the rest.
    """
    environment = os.environ if environment is None else environment
    known = leaves()
    source = SettingsFile.find(file, environment)
    from_file = source.layer() if source else []
    layers = [*from_file, *_environment_layer(environment, known)]
    layers += [(name, Origin(value, f"flag --set {name}")) for name, value in (flags or {}).items()]
    # A value equal to the default changes nothing, no matter who wrote it.
    risky = [name for name, origin in from_file if str(origin.value) != str(known.get(name, origin))]
    ignored = source.ignored(risky) if source else ()
    return resolve(layers, source, ignored)


def resolve(
    layers: Sequence[tuple[str, Origin]], source: SettingsFile | None = None, ignored: Sequence[str] = ()
) -> Settings:
    """Resolve names and values to settings; later values override earlier ones. Raises ``ConfigError``.

    ``source`` is the file among the layers; its settings in ``ignored`` do not count.
    """
    known, profile = leaves(), _profile(layers)
    origins = {name: Origin(value, "default") for name, value in known.items()}
    for name, value in PROFILES[profile.value].items():
        origins[name] = Origin(value, f"profile {profile.value}")
    overrides: dict[str, Origin] = {}
    named: dict[str, list[tuple[str, Origin]]] = {notifiers.PREFIX: [], BRIDGES: []}
    for name, origin in layers:
        if name == "profile":
            continue
        if name.startswith(OVERRIDES):
            overrides[name] = origin
        elif (prefix := name[: name.find(".") + 1]) in named:
            if name not in ignored or origin.source != FILE:
                named[prefix].append((name, origin))
        elif name in known:
            if name not in ignored or origin.source != FILE:
                origins[name] = origin
        else:
            raise ConfigError(
                f"There is no setting {name!r} ({origin.place}).",
                hint=f"see crl config show{nearest_name(name, known)}",
            )
    sections = {name: read_section(name, origins) for name in SECTIONS}
    policies = _policies(origins, overrides)
    channels = notifiers.resolve_notifiers(named[notifiers.PREFIX])
    bridges, disabled_bridges, bridge_origins = _bridges(named[BRIDGES])
    in_force = {"profile": profile, **_effective(origins, sections, policies)}
    in_force |= {name.replace("\t", "."): origin for name, origin in overrides.items()}
    in_force |= {**channels.origins, **bridge_origins}
    mirrors = Mirrors(sections["mirrors.langfuse"], sections["mirrors.mlflow"])
    return Settings(
        **{name: section for name, section in sections.items() if "." not in name},
        mirrors=mirrors,
        notifiers=channels.usable,
        disabled_notifiers=channels.disabled,
        bridges=bridges,
        disabled_bridges=disabled_bridges,
        policies=policies,
        profile=profile.value,
        origins=in_force,
        file=source.path if source else None,
        untrusted=Untrusted(source.path, tuple(ignored), was_trusted(source.path)) if source and ignored else None,
    )


def _bridges(
    layers: Sequence[tuple[str, Origin]],
) -> tuple[Mapping[str, BridgeOptions], Mapping[str, DisabledSection], Mapping[str, Origin]]:
    if not layers:
        return {}, {}, {}
    from crl_stream.settings.bridges import resolve_bridges

    return resolve_bridges(layers)


def _bridge_named_by(variable: str) -> str | None:
    if not variable.startswith(BRIDGE_PREFIX):
        return None
    from crl_stream.settings.bridges import named_by

    return named_by(variable)


def _profile(layers: Iterable[tuple[str, Origin]]) -> Origin:
    """Return the profile of the last layer that names one."""
    profile = Origin("guide", "default")
    for name, origin in layers:
        if name == "profile":
            profile = origin
    if not isinstance(profile.value, str) or profile.value not in PROFILES:
        raise ConfigError(
            f"There is no profile {shown(profile.value)} ({profile.place}).",
            hint=f"one of {', '.join(PROFILES)}{nearest_name(str(profile.value), PROFILES)}",
        )
    return profile


# -- layers ----------------------------------------------------------------------------------------
def _environment_layer(environment: Mapping[str, str], known: Mapping[str, Any]) -> Iterator[tuple[str, Origin]]:
    names = {variable_of(name): name for name in known} | ALIASES
    for variable in sorted(filter(is_setting, environment)):
        section = notifiers.named_by(variable) or _bridge_named_by(variable)
        if section is not None and variable not in names:
            names[variable] = section
        if variable not in names:
            overrides = variable.startswith(tuple(PREFIX + kind.rstrip(".").upper() + "_" for kind in OVERRIDES))
            raise ConfigError(
                f"There is no setting {variable} (environment).",
                hint="override agents and tasks in the file, or with --set agents.<name>.<section>.<field>=value"
                if overrides
                else f"see crl config show --env{nearest_name(variable, names)}",
            )
        if environment[variable] != "":
            yield names[variable], Origin(environment[variable], f"environment {variable}")


# -- values ----------------------------------------------------------------------------------------
def read_section(section: str, origins: Mapping[str, Origin]) -> Any:
    """Build a section from the chosen values; its other settings keep their defaults."""
    chosen = {
        name.removeprefix(f"{section}."): origin
        for name, origin in origins.items()
        if name.startswith(f"{section}.") and origin.source != "default" and not is_policy(name)
    }
    if issubclass(SECTIONS[section], Section):
        return read_runtime_section(section, SECTIONS[section], chosen)
    try:
        return SECTIONS[section].model_validate({name: origin.value for name, origin in chosen.items()})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        given = chosen[name].value
        # An address may contain a password.
        hidden = is_secret(SECTIONS[section], name) or (isinstance(given, str) and "://" in given and "@" in given)
        given = "(a secret)" if hidden else shown(given)
        raise ConfigError(
            f"{section}.{name} = {given} ({chosen[name].place}): {first['msg']}.",
            hint="crl config show lists the settings in force and where they come from",
        ) from error


def _policies(origins: Mapping[str, Origin], overrides: Mapping[str, Origin]) -> PolicySet:
    base = {name: o for name, o in origins.items() if is_policy(name) and o.source != "default"}
    scopes: dict[tuple[str, str], dict[str, Origin]] = {}
    for name, origin in overrides.items():
        kind, _, rest = name.partition(".")
        who, tab, setting = rest.partition("\t")
        if not tab:
            who, _, setting = _split_override(kind, rest, origin)
        scopes.setdefault((kind, who), {})[setting] = origin
    agents = {who: own for (kind, who), own in scopes.items() if kind == "agents"}
    tasks = {who: own for (kind, who), own in scopes.items() if kind == "tasks"}
    for who in agents:
        if not is_identifier(who):
            raise ConfigError(f"[agents.{who!r}] does not name an agent.", hint="names match [A-Za-z0-9._:-]{1,128}")
    resolved = {}
    for who, own in tasks.items():
        try:
            key = TaskKey.parse(who)
        except ValueError as error:
            raise ConfigError(
                f"[tasks.{who!r}] does not name a task.", hint='write [tasks."agent_name/task_type"]'
            ) from error
        resolved[who] = _policy(base | agents.get(key.agent_name, {}) | own)
    found = PolicySet(_policy(base), {who: _policy(base | own) for who, own in agents.items()}, resolved)
    if (why := too_large(found)) is not None:
        raise ConfigError(
            f"The policy is too large: {why}.",
            hint="lower these figures, or override settings for fewer agents and tasks",
        )
    return found


def _split_override(kind: str, rest: str, origin: Origin) -> tuple[str, str, str]:
    """Split the dotted name of an override; its last two parts are the setting."""
    who, _, last = rest.rpartition(".")
    who, dot, section = who.rpartition(".")
    if not dot:
        raise ConfigError(
            f"{kind}.{rest} is not a setting ({origin.place}).", hint=f"write {kind}.<name>.<section>.<field>"
        )
    return who, dot, f"{section}.{last}"


def _policy(chosen: Mapping[str, Origin]) -> Policy:
    nested: dict[str, dict[str, Any]] = {}
    for name, origin in chosen.items():
        section, _, entry = name.partition(".")
        if section not in POLICY_SECTIONS or entry not in POLICY_SECTIONS[section].__struct_fields__:
            known = {key: None for key in leaves() if is_policy(key)}
            raise ConfigError(
                f"There is no policy setting {name!r} ({origin.place}).",
                hint=f"agents and tasks can override only policy settings{nearest_name(name, known)}",
            )
        # Text from the environment or a flag is converted to the field's type; a file has typed values.
        strict = not origin.source.startswith((f"environment {PREFIX}", "flag --set "))
        kept = next(f for f in msgspec.structs.fields(POLICY_SECTIONS[section]) if f.name == entry)
        try:
            given = origin.value
            if not strict and isinstance(given, str) and isinstance(kept.default, tuple):
                given = given.strip("[]()").replace(",", " ").split()
            value = msgspec.convert(given, kept.type, strict=strict)
            if isinstance(value, float) and not math.isfinite(value):
                # The policy is sent as JSON, which cannot express infinity or NaN.
                raise msgspec.ValidationError("Expected a finite number")  # noqa: TRY301 - one place where all values are checked
        except msgspec.ValidationError as error:
            raise ConfigError(
                f"{name} = {shown(origin.value)} ({origin.place}): {_short(str(error))}.",
                hint="crl config show lists the settings in force and where they come from",
            ) from error
        nested.setdefault(section, {})[entry] = value
    try:
        return msgspec.convert(nested, Policy)
    except msgspec.ValidationError as error:  # values that are right each by itself, but do not go together
        raise ConfigError(
            f"The policy cannot be used: {_short(str(error))}.",
            hint="crl config show lists the settings in force and where they come from",
        ) from error


def _effective(origins: Mapping[str, Origin], sections: Mapping[str, Any], policies: PolicySet) -> dict[str, Origin]:
    """Return the origins of the settings, with the resolved values in place of the given ones."""
    in_force = {}
    for name, origin in origins.items():
        section, _, entry = name.rpartition(".")
        holder = getattr(policies.default, section) if is_policy(name) else sections[section]
        in_force[name] = Origin(getattr(holder, entry), origin.source)
    return in_force


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}..."
