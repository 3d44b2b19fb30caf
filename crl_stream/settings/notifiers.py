"""The channels of ``[notifiers.<name>]``: as many as one likes, each as strict about its settings as any section.

A channel may be completed by the environment, which is the place for secrets: ``CRL_NOTIFIERS_ON_CALL_SECRET`` is the
``secret`` of ``[notifiers.on-call]``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from crl_stream.errors import ConfigError
from crl_stream.notifiers.channels import KINDS
from crl_stream.notifiers.options import Options, is_secret
from crl_stream.settings.origin import Origin

PREFIX: Final = "notifiers."
_VARIABLE: Final = "CRL_NOTIFIERS_"
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_FIELDS: Final = sorted({field for kind in KINDS.values() for field in kind.options.model_fields}, key=len)[::-1]
_HINT: Final = "crl notify list shows the channels, crl config show where their settings come from"


def named_by(variable: str) -> str | None:
    """The setting that a variable of the environment may mean; None when it means none of a channel."""
    if not variable.startswith(_VARIABLE):
        return None
    rest = variable.removeprefix(_VARIABLE)
    for field in _FIELDS:
        name = rest.removesuffix(f"_{field.upper()}")
        if name not in {rest, ""}:
            return f"{PREFIX}{name.lower()}.{field}"
    return None


def resolve_notifiers(
    layers: Iterable[tuple[str, Origin]],
) -> tuple[dict[str, Options], dict[str, Origin]]:
    """The channels, and each of their settings with its origin; ``ConfigError`` names the first that is wrong."""
    chosen: dict[str, dict[str, Origin]] = {}
    for setting, origin in layers:
        name, dot, field = setting.removeprefix(PREFIX).rpartition(".")
        if not dot:
            raise ConfigError(
                f"There is no setting {setting!r} ({origin.source}).",
                hint=f'write [notifiers.{field or "<name>"}] and in it kind = "{next(iter(KINDS))}", one of '
                f"{', '.join(KINDS)}",
            )
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"[notifiers.{name!r}] names no channel ({origin.source}).",
                hint="names begin with a letter and have a-z, 0-9, - and _, at most 40",
            )
        chosen.setdefault(_known_as(name, chosen, origin), {})[field] = origin
    channels = {name: _channel(name, fields) for name, fields in chosen.items()}
    shown = {}
    for name, options in channels.items():
        for field, value in options:
            source = chosen[name][field].source if field in chosen[name] else "default"
            shown[f"{PREFIX}{name}.{field}"] = Origin(value, source)
    return channels, shown


def _known_as(name: str, chosen: Mapping[str, Any], origin: Origin) -> str:
    """The environment cannot say ``-``: its names mean the channels that are there under either spelling."""
    same = [known for known in chosen if known.replace("-", "_") == name.replace("-", "_")]
    if not same or name in same:
        return name
    if not origin.source.startswith("environment"):
        raise ConfigError(
            f"[notifiers.{name}] and [notifiers.{same[0]}] have one name in the environment ({origin.source}).",
            hint="rename one of them",
        )
    return same[0]


def _channel(name: str, chosen: Mapping[str, Origin]) -> Options:
    if "kind" not in chosen:
        source = next(iter(chosen.values())).source
        raise ConfigError(f"{PREFIX}{name} has no kind ({source}).", hint=f"set kind to one of {', '.join(KINDS)}")
    kind = chosen["kind"]
    if not isinstance(kind.value, str) or kind.value not in KINDS:
        raise ConfigError(
            f"{PREFIX}{name}.kind = {_short(kind.value)} ({kind.source}): there is no such kind.",
            hint=f"one of {', '.join(KINDS)}{_nearest(str(kind.value), KINDS)}",
        )
    options = KINDS[kind.value].options
    for field, origin in chosen.items():
        if field not in options.model_fields:
            known = {f"{PREFIX}{name}.{known}": None for known in options.model_fields}
            raise ConfigError(
                f"There is no setting {f'{PREFIX}{name}.{field}'!r} ({origin.source}).",
                hint=f"a channel of kind {kind.value} has {', '.join(options.model_fields)}"
                f"{_nearest(f'{PREFIX}{name}.{field}', known)}",
            )
    try:
        return options.model_validate({field: origin.value for field, origin in chosen.items()})
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        if first["type"] == "missing":
            variable = f"{_VARIABLE}{name.replace('-', '_')}_{field}".upper()
            raise ConfigError(
                f"{PREFIX}{name}.{field} is missing ({kind.source}).", hint=f"write it there, or set {variable}"
            ) from None
        value = "(a secret)" if is_secret(options, field) else _short(chosen[field].value)
        # Not `from error`: it holds the values.
        raise ConfigError(
            f"{PREFIX}{name}.{field} = {value} ({chosen[field].source}): {first['msg']}.", hint=_HINT
        ) from None


def _nearest(name: str, names: Mapping[str, Any]) -> str:
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; the nearest name is {found[0]}" if found else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
