"""Compares the topics on the broker with the catalog, and corrects them.

``apply`` creates missing topics and corrects configuration.  It never deletes a topic.  It never adds partitions to an
existing topic either, because that would separate tasks from their history.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NoError, TopicAlreadyExistsError, for_code

from crl_stream.contract import load_catalog
from crl_stream.errors import ContractError, Unavailable
from crl_stream.kafka.session import Access, KafkaSession
from crl_stream.wire.catalog import TopicSpec
from crl_stream.wire.topics import Topics

_TIMEOUT_MS: Final = 15_000
_TOPIC_LEVEL: Final = 1
"""The config source in a DescribeConfigs response for a value that was set on the topic itself."""
_APPEAR_SECONDS: Final = 15.0
_AT_LEAST: Final = frozenset(("max.message.bytes", "min.compaction.lag.ms"))
"""Settings where a larger value is safe.  With a smaller compaction lag, a stale write may replace the newer row
before the partition's owner has rewritten it."""

Kind = Literal["missing", "partitions", "replication", "config"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a topic on the broker differs from the catalog."""

    topic: str
    kind: Kind
    setting: str
    wanted: str
    found: str
    unsafe: bool
    """Whether a worker refuses to start with this difference, because it could lose or misread events."""

    def __str__(self) -> str:
        """Return the difference as one line of text, for people."""
        if self.kind == "missing":
            return f"{self.topic} does not exist"
        return f"{self.topic}: {self.setting} is {self.found}, {self.wanted} is expected"

    def as_json(self) -> dict[str, Any]:
        """Return the difference as JSON, for programs."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as it exists on the broker."""

    name: str
    partitions: int
    replication_factor: int
    configs: dict[str, str]
    """The effective value of each setting of the topic."""
    own: dict[str, str]
    """The values that were set on the topic itself."""


class TopicAdmin:
    """The topics of one installation on one cluster."""

    def __init__(self, access: Access, app_id: str) -> None:
        self._session = KafkaSession.of(access)
        self.kafka = self._session.kafka
        catalog, names = load_catalog(), Topics(self.kafka.topic_prefix)
        self.specs: dict[str, TopicSpec] = {names(spec.name): spec for spec in catalog.topics}
        self.changelog = names.changelog(app_id)
        """The changelog topic of the monitor's table."""
        self.specs |= {names(spec.name.format(app_id=app_id)): spec for spec in catalog.changelogs}

    async def find(self) -> dict[str, Found]:
        """Return the topics of the catalog that exist."""
        async with self._admin() as admin:
            return await self._find(admin)

    async def differences(self) -> list[Difference]:
        """Return what differs from the catalog, whether or not ``apply`` can correct it."""
        found = await self.find()
        return [d for name, spec in self.specs.items() for d in self._compare(name, spec, found.get(name))]

    async def apply(self) -> list[str]:
        """Create missing topics and correct configuration; return one line for each change.

        Raises ``ContractError`` if a topic has the wrong number of partitions.
        """
        done: list[str] = []
        async with self._admin() as admin:
            found = await self._find(admin)
            left = [d for n, spec in self.specs.items() for d in self._compare(n, spec, found.get(n))]
            if wrong := [d for d in left if d.kind == "partitions"]:
                raise ContractError(
                    f"{wrong[0]}.",
                    hint=f"set kafka.partitions = {wrong[0].found}, or delete the topic if it is empty",
                )
            missing = [name for name in self.specs if name not in found]
            if missing:
                await self._create(admin, missing)
                done += [f"created {name}" for name in missing]
            for name in dict.fromkeys(d.topic for d in left if d.kind == "config"):
                await self._alter(admin, name, found[name].own | self._wanted(self.specs[name]))
                done += [f"set {d.setting}={d.wanted} on {name}" for d in left if d.topic == name]
            if done:
                await self._wait_until_seen(admin)
        return done

    async def _wait_until_seen(self, admin: AIOKafkaAdminClient) -> None:
        """Wait until the broker reports the changes, so that a worker started next sees them."""
        left: list[Difference] = []
        try:
            async with asyncio.timeout(_APPEAR_SECONDS):
                while left := await self._pending(admin):  # noqa: ASYNC110 - Kafka has no event for it
                    await asyncio.sleep(0.05)
        except TimeoutError:
            shown = str(left[0]) if left else "it does not answer"
            raise Unavailable(
                f"Kafka accepted the changes, but {_APPEAR_SECONDS:.0f} s later {shown}.",
                hint="is something deleting the topics? See `crl topics diff`, then run `crl topics apply` again",
            ) from None

    async def _pending(self, admin: AIOKafkaAdminClient) -> list[Difference]:
        """Return the differences that ``apply`` corrects and the broker still reports."""
        found = await self._find(admin)
        left = [d for name, spec in self.specs.items() for d in self._compare(name, spec, found.get(name))]
        return [difference for difference in left if difference.kind in {"missing", "config"}]

    # -- comparing ---------------------------------------------------------------------------------
    def _wanted(self, spec: TopicSpec) -> dict[str, str]:
        return spec.configs(self.kafka.replication_factor)

    def _compare(self, name: str, spec: TopicSpec, found: Found | None) -> list[Difference]:
        if found is None:
            return [Difference(name, "missing", "topic", "exists", "missing", unsafe=True)]
        differences = []
        partitions = spec.partition_count(self.kafka.partitions)
        if found.partitions != partitions:
            differences.append(
                Difference(name, "partitions", "partitions", str(partitions), str(found.partitions), unsafe=True)
            )
        if found.replication_factor < self.kafka.replication_factor:
            wanted, there = str(self.kafka.replication_factor), str(found.replication_factor)
            differences.append(Difference(name, "replication", "replication factor", wanted, there, unsafe=False))
        for setting, value in self._wanted(spec).items():
            there = found.configs.get(setting, "unset")
            if _normal(there) != _normal(value):
                unsafe = setting in {"cleanup.policy", "message.timestamp.type"} or (
                    setting in _AT_LEAST and there.isdigit() and int(there) < int(value)
                )
                differences.append(Difference(name, "config", setting, value, there, unsafe=unsafe))
        return differences

    # -- asking ------------------------------------------------------------------------------------
    def _admin(self) -> AbstractAsyncContextManager[AIOKafkaAdminClient]:
        return self._session.administering(request_timeout_ms=_TIMEOUT_MS)

    async def _find(self, admin: AIOKafkaAdminClient) -> dict[str, Found]:
        there = [name for name in await admin.list_topics() if name in self.specs]
        if not there:
            return {}
        described = {topic["topic"]: topic for topic in await admin.describe_topics(there)}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in there]
        found = {}
        for response in await admin.describe_configs(resources):
            for resource in response.resources:
                code, name, entries = resource[0], resource[3], resource[4]
                partitions = described[name]["partitions"] if name in described else []
                if code or not partitions:
                    continue  # the topic was deleted after it was listed
                found[name] = Found(
                    name,
                    len(partitions),
                    min((len(p["replicas"]) for p in partitions), default=0),
                    {entry[0]: entry[1] for entry in entries},
                    {entry[0]: entry[1] for entry in entries if entry[3] == _TOPIC_LEVEL},
                )
        return found

    async def _create(self, admin: AIOKafkaAdminClient, names: list[str]) -> None:
        new = [
            NewTopic(
                name,
                self.specs[name].partition_count(self.kafka.partitions),
                self.kafka.replication_factor,
                topic_configs=self._wanted(self.specs[name]),
            )
            for name in names
        ]
        response = await admin.create_topics(new, timeout_ms=_TIMEOUT_MS)
        for name, code, *text in response.topic_errors:
            if (error := for_code(code)) not in {NoError, TopicAlreadyExistsError}:
                raise Unavailable(
                    f"Kafka did not create {name}: {(text and text[0]) or error.__name__}.",
                    hint="is this user allowed to create topics? are there kafka.replication_factor brokers?",
                )

    async def _alter(self, admin: AIOKafkaAdminClient, name: str, configs: dict[str, str]) -> None:
        resource = ConfigResource(ConfigResourceType.TOPIC, name, configs)
        for response in await admin.alter_configs([resource]):
            for code, text, *_ in response.resources:
                if code:
                    raise Unavailable(
                        f"Kafka did not change {name}: {text or for_code(code).__name__}.",
                        hint="is this user allowed to alter topics?",
                    )


def _normal(value: str) -> str:
    """Return the value with lists sorted and numbers in one form, because ``0.20`` and ``0.2`` are the same ratio."""
    try:
        return str(float(value))
    except ValueError:
        return ",".join(sorted(value.split(",")))
