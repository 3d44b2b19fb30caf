"""Sections that a user names, ``[notifiers.<name>]`` and ``[bridges.<name>]``: any number, each of one kind.

Each is validated like any section. The environment may complete one and is the place for secrets:
``CRL_NOTIFIERS_ON_CALL_SECRET`` is the ``secret`` of ``[notifiers.on-call]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from crl_stream.errors import ConfigError
from crl_stream.sections import is_secret
from crl_stream.settings.fields import shown
from crl_stream.settings.names import nearest_name
from crl_stream.settings.origin import Origin

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_OptionsT_co = TypeVar("_OptionsT_co", bound=BaseModel, covariant=True)


class KindOf(Protocol[_OptionsT_co]):
    """A kind of section, with the class of its settings."""

    @property
    def options(self) -> type[_OptionsT_co]:
        """The class of the settings."""


class DisabledSection(NamedTuple):
    """A section that lacks a required secret: it does nothing, and everything else works."""

    kind: str
    reason: str
    """Which setting is wrong and why, without the secret."""
    hint: str
    """What to do next: the environment variable to set."""


class Resolved(NamedTuple, Generic[_OptionsT_co]):
    """The configured sections of one table."""

    usable: dict[str, _OptionsT_co]
    disabled: dict[str, DisabledSection]
    origins: dict[str, Origin]
    """Value and source of each setting of a section."""


class NamedSections(Generic[_OptionsT_co]):
    """The sections of one table, such as ``notifiers``; ``noun`` is what messages call one of them."""

    def __init__(self, table: str, kinds: Mapping[str, KindOf[_OptionsT_co]], noun: str, hint: str) -> None:
        self.table, self.kinds, self.noun, self.hint = table, kinds, noun, hint
        self.prefix = f"{table}."
        self._variable = f"CRL_{table.upper()}_"
        fields = {field for kind in kinds.values() for field in kind.options.model_fields}
        self._fields = sorted(fields, key=len, reverse=True)

    def named_by(self, variable: str) -> str | None:
        """Return the setting that an environment variable names; None if it names none."""
        if not variable.startswith(self._variable):
            return None
        rest = variable.removeprefix(self._variable)
        for field in self._fields:
            name = rest.removesuffix(f"_{field.upper()}")
            if name not in {rest, ""}:
                return f"{self.prefix}{name.lower()}.{field}"
        return None

    def resolve(self, layers: Iterable[tuple[str, Origin]]) -> Resolved[_OptionsT_co]:
        """Resolve the sections and the origins of their settings; raises ``ConfigError`` for the first mistake.

        A secret comes from elsewhere and may go missing without anyone editing a file. A missing or unusable one
        therefore disables only its section.
        """
        chosen: dict[str, dict[str, Origin]] = {}
        for setting, origin in layers:
            name, dot, field = setting.removeprefix(self.prefix).rpartition(".")
            if not dot:
                raise ConfigError(
                    f"There is no setting {setting!r} ({origin.place}).",
                    hint=f'write [{self.table}.{field or "<name>"}] and below it kind = "{next(iter(self.kinds))}", '
                    f"one of {', '.join(self.kinds)}",
                )
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"{name!r} in [{self.table}.{name!r}] is not a valid {self.noun} name ({origin.place}).",
                    hint="names begin with a letter and contain only a-z, 0-9, - and _, at most 40 characters",
                )
            chosen.setdefault(self._known_as(name, chosen, origin), {})[field] = origin
        found: Resolved[_OptionsT_co] = Resolved({}, {}, {})
        for name, fields in chosen.items():
            options = self._section(name, fields)
            if isinstance(options, DisabledSection):
                found.disabled[name] = options
                secrets = {field for field in fields if is_secret(self.kinds[options.kind].options, field)}
                for field, origin in fields.items():
                    value = "set" if field in secrets else origin.value
                    found.origins[f"{self.prefix}{name}.{field}"] = Origin(value, origin.source)
                continue
            found.usable[name] = options
            for field, value in options:
                source = fields[field].source if field in fields else "default"
                found.origins[f"{self.prefix}{name}.{field}"] = Origin(value, source)
        return found

    def _known_as(self, name: str, chosen: Mapping[str, Any], origin: Origin) -> str:
        """Return the existing section that the name means: variables cannot contain ``-``, so ``_`` matches it too."""
        same = [known for known in chosen if known.replace("-", "_") == name.replace("-", "_")]
        if not same or name in same:
            return name
        if not origin.source.startswith("environment"):
            raise ConfigError(
                f"[{self.table}.{name}] and [{self.table}.{same[0]}] have the same name in the environment "
                f"({origin.place}).",
                hint="rename one of them",
            )
        return same[0]

    def _section(self, name: str, chosen: Mapping[str, Origin]) -> _OptionsT_co | DisabledSection:
        options = self._kind(name, chosen)
        for field, origin in chosen.items():
            if field not in options.model_fields:
                known = [f"{self.prefix}{name}.{known}" for known in options.model_fields]
                raise ConfigError(
                    f"There is no setting {f'{self.prefix}{name}.{field}'!r} ({origin.place}).",
                    hint=f"a {self.noun} of kind {chosen['kind'].value} has the settings "
                    f"{', '.join(options.model_fields)}{nearest_name(f'{self.prefix}{name}.{field}', known)}",
                )
        try:
            # An empty secret counts as missing.
            return options.model_validate(
                {f: origin.value for f, origin in chosen.items() if origin.value != "" or not is_secret(options, f)}
            )
        except ValidationError as error:
            return self._disabled(name, chosen, options, error)

    def _kind(self, name: str, chosen: Mapping[str, Origin]) -> type[_OptionsT_co]:
        if "kind" not in chosen:
            place = next(iter(chosen.values())).place
            hint = f"set kind to one of {', '.join(self.kinds)}"
            raise ConfigError(f"{self.prefix}{name} has no kind ({place}).", hint=hint)
        kind = chosen["kind"]
        if not isinstance(kind.value, str) or kind.value not in self.kinds:
            raise ConfigError(
                f"{self.prefix}{name}.kind = {shown(kind.value)} ({kind.place}): there is no such kind.",
                hint=f"one of {', '.join(self.kinds)}{nearest_name(str(kind.value), self.kinds)}",
            )
        return self.kinds[kind.value].options

    def _disabled(
        self, name: str, chosen: Mapping[str, Origin], options: type[BaseModel], error: ValidationError
    ) -> DisabledSection:
        """Return the section as disabled if a secret is at fault; raise ``ConfigError`` for any other mistake."""
        kind = chosen["kind"]
        # Report mistakes in the file before secrets that are missing from elsewhere.
        first = min(error.errors(), key=lambda one: bool(one["loc"]) and is_secret(options, str(one["loc"][0])))
        if not first["loc"]:  # the settings do not fit each other
            raise ConfigError(f"{self.prefix}{name} ({kind.place}): {first['msg']}.", hint=self.hint) from None
        field = str(first["loc"][0])
        variable = f"{self._variable}{name.replace('-', '_')}_{field}".upper()
        if is_secret(options, field):
            place = kind.place if first["type"] == "missing" else chosen[field].place
            what = "is missing" if first["type"] == "missing" else f"cannot be used: {first['msg']}"
            return DisabledSection(str(kind.value), f"{self.prefix}{name}.{field} ({place}) {what}", f"set {variable}")
        if first["type"] == "missing":
            raise ConfigError(
                f"{self.prefix}{name}.{field} is missing ({kind.place}).", hint=f"write it there, or set {variable}"
            ) from None
        # Not `from error`, because that error contains the values, which may be secret.
        raise ConfigError(
            f"{self.prefix}{name}.{field} = {shown(chosen[field].value)} ({chosen[field].place}): {first['msg']}.",
            hint=self.hint,
        ) from None
