"""The contract's catalog: every topic, who writes and reads it, and how the broker keeps it.

``topics/catalog.toml`` is the source and is written for people. This module reads it strictly, so that a misspelt word
fails a test instead of leaving a topic without its retention.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from crl_stream.errors import ContractError

Cleanup = Literal["delete", "compact", "compact,delete"]
TimestampType = Literal["LogAppendTime", "CreateTime"]

_CLEANUPS: Final[tuple[Cleanup, ...]] = ("delete", "compact", "compact,delete")
_TIMESTAMPS: Final[dict[str, TimestampType]] = {"append": "LogAppendTime", "create": "CreateTime"}
_MILLISECONDS: Final = {"minutes": 60_000, "hours": 3_600_000, "days": 86_400_000}
_BYTES: Final = {"KiB": 1 << 10, "MiB": 1 << 20}
_QUANTITY: Final = re.compile(r"([1-9][0-9]*) ([A-Za-z]+)")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")
_SAFE_REPLICAS: Final = 3
"""With at least this many replicas, records can still be written after the loss of one broker."""
MIN_SEGMENT: Final = 1 << 20
"""The smallest ``segment.bytes`` that Kafka 4 accepts."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic: its purpose and how the broker keeps it."""

    name: str
    what: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    key: str
    guarantee: str
    partitions: int | Literal["log"]
    """Number of partitions; ``log`` means as many as ``crl.invocations`` has."""
    cleanup: Cleanup
    retention_ms: int | None
    """How long records are kept, in milliseconds; None if none are deleted by age."""
    timestamp_type: TimestampType
    max_message_bytes: int
    segment_bytes: int | None = None
    dirty_ratio: float | None = None
    compaction_lag_ms: int | None = None

    @property
    def compacted(self) -> bool:
        """Return whether the last record of a key is kept."""
        return "compact" in self.cleanup

    def partition_count(self, log_partitions: int) -> int:
        """Return this topic's number of partitions, given the number of the log's partitions."""
        return log_partitions if self.partitions == "log" else self.partitions

    def configs(self, replication_factor: int = 1) -> dict[str, str]:
        """Return Kafka's topic configuration, with values spelled as the broker prints them.

        With three or more replicas, a record counts as written only when two of them have it.
        """
        configs = {
            "cleanup.policy": self.cleanup,
            "max.message.bytes": str(self.max_message_bytes),
            "message.timestamp.type": self.timestamp_type,
            "min.insync.replicas": "2" if replication_factor >= _SAFE_REPLICAS else "1",
            "retention.ms": "-1" if self.retention_ms is None else str(self.retention_ms),
            "unclean.leader.election.enable": "false",
        }
        if self.segment_bytes is not None:
            configs["segment.bytes"] = str(self.segment_bytes)
        if self.dirty_ratio is not None:
            configs["min.cleanable.dirty.ratio"] = str(self.dirty_ratio)
        if self.compaction_lag_ms is not None:
            configs["min.compaction.lag.ms"] = str(self.compaction_lag_ms)
        return dict(sorted(configs.items()))


@dataclass(frozen=True, slots=True)
class Catalog:
    """All topics, in the order of the catalog, and the templates of the changelogs."""

    topics: tuple[TopicSpec, ...]
    changelogs: tuple[TopicSpec, ...]
    """Templates of changelogs; their names contain ``{app_id}``."""

    def __getitem__(self, name: str) -> TopicSpec:
        """Return the topic called ``name``; raise ``KeyError`` if there is none."""
        for spec in self.topics:
            if spec.name == name:
                return spec
        raise KeyError(name)


def parse_catalog(text: str) -> Catalog:
    """Parse the text of ``catalog.toml``; raise a ``ContractError`` that says what is wrong and where."""
    try:
        page = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _wrong("catalog.toml", f"is not TOML: {error}") from error
    if unknown := page.keys() - {"defaults", "topic", "changelog"}:
        raise _wrong("catalog.toml", f"has an unknown section: {min(unknown)}")
    defaults = page.get("defaults", {})
    topics = tuple(_spec(defaults | entry) for entry in page.get("topic", ()))
    names = [spec.name for spec in topics]
    if not names or len(set(names)) != len(names):
        raise _wrong("catalog.toml", "names no topics, or names one of them twice")
    changelogs = tuple(_spec(defaults | entry) for entry in page.get("changelog", ()))
    if not changelogs or any("{app_id}" not in spec.name for spec in changelogs):
        raise _wrong("catalog.toml", "has no [[changelog]] section, or has one whose name lacks {app_id}")
    return Catalog(topics, changelogs)


def _spec(entry: Mapping[str, Any]) -> TopicSpec:
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name.replace("{app_id}", "")):
        raise _wrong("catalog.toml", f"has a topic whose name Kafka would not accept: {name!r}")
    if missing := _REQUIRED - entry.keys():
        raise _wrong(name, f"lacks {min(missing)}")
    if unknown := entry.keys() - _REQUIRED - _OPTIONAL:
        raise _wrong(name, f"has an unknown setting: {min(unknown)}")
    cleanup, timestamp, partitions = entry["cleanup"], entry["timestamp"], entry["partitions"]
    if cleanup not in _CLEANUPS:
        raise _wrong(name, f"cleanup must be one of {', '.join(_CLEANUPS)}")
    if timestamp not in _TIMESTAMPS:
        raise _wrong(name, f"timestamp must be one of {', '.join(_TIMESTAMPS)}")
    if partitions != "log" and not (type(partitions) is int and partitions > 0):
        raise _wrong(name, 'partitions must be "log" or a number above zero')
    if ("delete" in cleanup) != ("retention" in entry):
        raise _wrong(name, "retention must be set if cleanup deletes records, and only then")
    ratio = entry.get("dirty_ratio")
    if ratio is not None and not (type(ratio) is float and 0.0 <= ratio <= 1.0):
        raise _wrong(name, "dirty_ratio must be between 0.0 and 1.0")
    segment = _quantity(entry, "segment", _BYTES)
    if segment is not None and segment < MIN_SEGMENT:
        raise _wrong(name, "segment must be at least 1 MiB, because Kafka 4 rejects smaller ones")
    return TopicSpec(
        name=name,
        what=_text(entry, "what"),
        writers=_names(entry, "writers"),
        readers=_names(entry, "readers"),
        key=_text(entry, "key"),
        guarantee=_text(entry, "guarantee"),
        partitions=partitions,
        cleanup=cleanup,
        retention_ms=_quantity(entry, "retention", _MILLISECONDS),
        timestamp_type=_TIMESTAMPS[timestamp],
        max_message_bytes=_quantity(entry, "max_message", _BYTES) or 0,
        segment_bytes=segment,
        dirty_ratio=ratio,
        compaction_lag_ms=_quantity(entry, "compaction_lag", _MILLISECONDS),
    )


_REQUIRED: Final = frozenset(
    (
        "name",
        "what",
        "writers",
        "readers",
        "key",
        "guarantee",
        "partitions",
        "cleanup",
        "timestamp",
        "max_message",
    )
)
_OPTIONAL: Final = frozenset(("retention", "segment", "dirty_ratio", "compaction_lag"))


def _text(entry: Mapping[str, Any], word: str) -> str:
    value = entry[word]
    if not isinstance(value, str) or not value.strip():
        raise _wrong(entry["name"], f"{word} must be a sentence")
    return value


def _names(entry: Mapping[str, Any], word: str) -> tuple[str, ...]:
    value = entry[word]
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise _wrong(entry["name"], f"{word} must be a list of roles")
    return tuple(value)


def _quantity(entry: Mapping[str, Any], word: str, units: Mapping[str, int]) -> int | None:
    if word not in entry:
        return None
    found = _QUANTITY.fullmatch(entry[word]) if isinstance(entry[word], str) else None
    if found is None or found.group(2) not in units:
        raise _wrong(entry["name"], f"{word} must be a number and one of {', '.join(units)}, like 5 {min(units)}")
    return int(found.group(1)) * units[found.group(2)]


def _wrong(where: str, what: str) -> ContractError:
    return ContractError(
        f"The topic catalog is not usable: {where}: {what}.",
        hint="topics/catalog.toml is part of the release; restore the released file",
    )
