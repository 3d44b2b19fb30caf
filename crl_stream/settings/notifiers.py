"""The channels ``[notifiers.<name>]``: any number, each validated like any section.

The environment may complete a channel and is the place for secrets: ``CRL_NOTIFIERS_ON_CALL_SECRET`` is the
``secret`` of ``[notifiers.on-call]``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from crl_stream.errors import ConfigError
from crl_stream.notifiers.channels import KINDS
from crl_stream.notifiers.options import Options, is_secret
from crl_stream.settings.origin import Origin

PREFIX: Final = "notifiers."
_VARIABLE: Final = "CRL_NOTIFIERS_"
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_FIELDS: Final = sorted({field for kind in KINDS.values() for field in kind.options.model_fields}, key=len)[::-1]
_HINT: Final = "crl notify list shows the channels; crl config show says where their settings come from"


def named_by(variable: str) -> str | None:
    """Return the channel setting that an environment variable names; None if it names none."""
    if not variable.startswith(_VARIABLE):
        return None
    rest = variable.removeprefix(_VARIABLE)
    for field in _FIELDS:
        name = rest.removesuffix(f"_{field.upper()}")
        if name not in {rest, ""}:
            return f"{PREFIX}{name.lower()}.{field}"
    return None


class DisabledChannel(NamedTuple):
    """A channel that lacks a required secret: it sends nothing, and everything else works."""

    kind: str
    reason: str
    """Which setting is wrong and why, without the secret."""
    hint: str
    """What to do next: the environment variable to set."""


class Channels(NamedTuple):
    """The configured channels."""

    usable: dict[str, Options]
    disabled: dict[str, DisabledChannel]
    origins: dict[str, Origin]
    """Value and source of each setting of a channel."""


def resolve_notifiers(layers: Iterable[tuple[str, Origin]]) -> Channels:
    """Resolve the channels and the origins of their settings; raises ``ConfigError`` for the first mistake.

    A secret comes from elsewhere and may go missing without anyone editing a file. A missing or unusable one therefore
    disables only its channel.
    """
    chosen: dict[str, dict[str, Origin]] = {}
    for setting, origin in layers:
        name, dot, field = setting.removeprefix(PREFIX).rpartition(".")
        if not dot:
            raise ConfigError(
                f"There is no setting {setting!r} ({origin.place}).",
                hint=f'write [notifiers.{field or "<name>"}] and below it kind = "{next(iter(KINDS))}", one of '
                f"{', '.join(KINDS)}",
            )
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} in [notifiers.{name!r}] is not a valid channel name ({origin.place}).",
                hint="names begin with a letter and contain only a-z, 0-9, - and _, at most 40 characters",
            )
        chosen.setdefault(_known_as(name, chosen, origin), {})[field] = origin
    usable: dict[str, Options] = {}
    disabled: dict[str, DisabledChannel] = {}
    shown = {}
    for name, fields in chosen.items():
        options = _channel(name, fields)
        if isinstance(options, DisabledChannel):
            disabled[name] = options
            secrets = {field for field in fields if is_secret(KINDS[options.kind].options, field)}
            for field, origin in fields.items():
                shown[f"{PREFIX}{name}.{field}"] = Origin("set" if field in secrets else origin.value, origin.source)
            continue
        usable[name] = options
        for field, value in options:
            source = fields[field].source if field in fields else "default"
            shown[f"{PREFIX}{name}.{field}"] = Origin(value, source)
    return Channels(usable, disabled, shown)


def _known_as(name: str, chosen: Mapping[str, Any], origin: Origin) -> str:
    """Return the existing channel that the name means: variables cannot contain ``-``, so ``_`` matches it too."""
    same = [known for known in chosen if known.replace("-", "_") == name.replace("-", "_")]
    if not same or name in same:
        return name
    if not origin.source.startswith("environment"):
        raise ConfigError(
            f"[notifiers.{name}] and [notifiers.{same[0]}] have the same name in the environment ({origin.place}).",
            hint="rename one of them",
        )
    return same[0]


def _channel(name: str, chosen: Mapping[str, Origin]) -> Options | DisabledChannel:
    if "kind" not in chosen:
        place = next(iter(chosen.values())).place
        raise ConfigError(f"{PREFIX}{name} has no kind ({place}).", hint=f"set kind to one of {', '.join(KINDS)}")
    kind = chosen["kind"]
    if not isinstance(kind.value, str) or kind.value not in KINDS:
        raise ConfigError(
            f"{PREFIX}{name}.kind = {_short(kind.value)} ({kind.place}): there is no such kind.",
            hint=f"one of {', '.join(KINDS)}{_nearest(str(kind.value), KINDS)}",
        )
    options = KINDS[kind.value].options
    for field, origin in chosen.items():
        if field not in options.model_fields:
            known = {f"{PREFIX}{name}.{known}": None for known in options.model_fields}
            raise ConfigError(
                f"There is no setting {f'{PREFIX}{name}.{field}'!r} ({origin.place}).",
                hint=f"a channel of kind {kind.value} has the settings {', '.join(options.model_fields)}"
                f"{_nearest(f'{PREFIX}{name}.{field}', known)}",
            )
    try:
        # An empty secret counts as missing.
        return options.model_validate(
            {f: origin.value for f, origin in chosen.items() if origin.value != "" or not is_secret(options, f)}
        )
    except ValidationError as error:
        # Report mistakes in the file before secrets that are missing from elsewhere.
        first = min(error.errors(), key=lambda one: is_secret(options, str(one["loc"][0])))
        field = str(first["loc"][0])
        variable = f"{_VARIABLE}{name.replace('-', '_')}_{field}".upper()
        if is_secret(options, field):
            place = kind.place if first["type"] == "missing" else chosen[field].place
            what = "is missing" if first["type"] == "missing" else f"cannot be used: {first['msg']}"
            return DisabledChannel(kind.value, f"{PREFIX}{name}.{field} ({place}) {what}", f"set {variable}")
        if first["type"] == "missing":
            raise ConfigError(
                f"{PREFIX}{name}.{field} is missing ({kind.place}).", hint=f"write it there, or set {variable}"
            ) from None
        # Not `from error`, because that error contains the values, which may be secret.
        raise ConfigError(
            f"{PREFIX}{name}.{field} = {_short(chosen[field].value)} ({chosen[field].place}): {first['msg']}.",
            hint=_HINT,
        ) from None


def _nearest(name: str, names: Mapping[str, Any]) -> str:
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; the nearest name is {found[0]}" if found else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
