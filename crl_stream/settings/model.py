"""The settings outside the policy: where Kafka is, how a worker behaves, where data is kept.

``runtime_sections`` defines those that a client reads too, and ``core.policy`` the policy's. ``leaves`` returns all.
"""

from __future__ import annotations

import contextlib
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec
from pydantic import Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError

from crl_stream.core.policy import Policy
from crl_stream.sections import CheckedSection
from crl_stream.settings.runtime_sections import Broker, Client, Kafka
from crl_stream.settings.user_folders import user_folder

__all__ = [
    "POLICY_SECTIONS",
    "SECTIONS",
    "Broker",
    "Client",
    "Kafka",
    "Langfuse",
    "MLflow",
    "Mirrors",
    "Proposer",
    "Review",
    "Telemetry",
    "Web",
    "Worker",
    "is_policy",
    "leaves",
]

_SOME_DAY = datetime(2024, 1, 1)  # noqa: DTZ001 - schedules are in wall time
"""A fixed day from which a schedule's next date is computed, so every process gets the same result."""


def _address(value: str) -> str:
    """Return an HTTP address without a final slash; raise ``PydanticCustomError`` if it is neither one nor empty."""
    found = None
    with contextlib.suppress(ValueError):
        parts = urlsplit(value)
        found = None if parts.port == 0 else parts  # raises ValueError for an impossible port
    usable = found is not None and found.scheme in {"http", "https"} and found.hostname and not found.username
    if value and (not usable or found is None or found.query or found.fragment):
        raise PydanticCustomError("url", "Input should be an address like https://host, without user and password")
    return value.rstrip("/")


DEMO_APP_ID: Final = "crl-demo"
"""The ``worker.app_id`` of ``crl demo``, which starts no notifier."""


class Worker(CheckedSection):
    """How the worker process behaves."""

    app_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] = "crl-monitor"
    """Name of the consumer groups and changelogs; kafka.topic_prefix precedes it."""
    instance_id: str = ""
    """Id for static membership, one per process: a restart within the session timeout moves no partition."""
    web_host: str = "127.0.0.1"
    """Address on which the web views listen; any address except loopback needs web_token."""
    web_port: Annotated[int, Field(ge=0, le=65_535)] = 6_066
    """Port of the web views; 0 picks a free one."""
    web_token: SecretStr = SecretStr("")
    """Bearer token that every view requires, except health and readiness."""
    advertised_url: str = ""
    """URL at which other workers reach this one's views; empty is http://web_host:web_port, with the host name
    in place of 0.0.0.0.
    """
    session_timeout_seconds: Annotated[float, Field(ge=1.0, le=300.0)] = 10.0
    """Seconds after which the group reassigns a silent worker's partitions."""
    heartbeat_seconds: Annotated[float, Field(ge=0.1, le=60.0)] = 3.0
    commit_interval_seconds: Annotated[float, Field(ge=0.05, le=60.0)] = 1.0
    """Seconds between commits. Committed offsets are only a hint; the partition row decides."""
    store: Literal["memory", "rocksdb"] = "memory"
    """Where rows are kept besides the changelog: memory, or rocksdb for larger fleets, with one data_dir per worker."""
    data_dir: Path = Field(default_factory=lambda: user_folder("XDG_DATA_HOME", ".local/share") / "worker")
    """Folder for rows with store = "rocksdb" and logs of `crl demo`. Created when needed; may be deleted, because the
    state is in Kafka.
    """
    max_poll_records: Annotated[int, Field(ge=1, le=100_000)] = 1_000

    @field_validator("web_host")
    @classmethod
    def _without_brackets(cls, value: str) -> str:
        """Turn ``[::1]``, the form used in URLs, into the address ``::1``."""
        return value[1:-1] if value.startswith("[") and value.endswith("]") else value


class Proposer(CheckedSection):
    """What the proposer recommends."""

    modifications_file: str = ""
    """Your own TOML catalogue of modifications, relative to the current folder; empty uses the shipped one."""

    @property
    def modifications(self) -> Path | None:
        """Return the file, if one is configured."""
        return Path(self.modifications_file).expanduser() if self.modifications_file else None


class Review(CheckedSection):
    """When the weekly review of proposals and the daily message about what waits are published."""

    schedule: str = "0 9 * * 1"
    """Cron expression: minute, hour, day of month, month, day of week. The default is the guide's: Mondays at 9."""
    daily: str = "0 9 * * *"
    """Cron expression of the one message a day about new proposals and what still waits; empty: no such message.

    On a day without anything new or due, there is none.
    """
    remind_days: tuple[Annotated[float, Field(gt=0.0, le=365.0)], ...] = (1.0, 3.0, 7.0)
    """Ages in days at which the daily message reminds people of a proposal or an unreviewed rollback.

    After the last of them, it does so every week.
    """
    timezone: str = "UTC"
    """IANA time zone of the schedules, e.g. Europe/Vienna."""

    @field_validator("remind_days", mode="before")
    @classmethod
    def _days(cls, value: Any) -> Any:
        """Take a text too, as the environment and ``--set`` give it."""
        if not isinstance(value, str):
            return value
        try:
            return [float(word) for word in value.strip(" [()]").split(",") if word.strip()]
        except ValueError:
            raise PydanticCustomError("days", "Input should be ages in days, like 1, 3, 7") from None

    @field_validator("daily")
    @classmethod
    def _is_cron_or_empty(cls, value: str) -> str:
        return cls._is_cron(value) if value else value

    @field_validator("schedule")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        from croniter import CroniterBadDateError, croniter

        # R and H are extensions of croniter that pick a random hour on every call.
        by_chance = re.search(r"(?<![A-Za-z])[RrHh](?![A-Za-z])", value)
        if len(value.split()) != 5 or by_chance or not croniter.is_valid(value):
            raise PydanticCustomError("cron", "Input should be a cron expression of five fields, like 0 9 * * 1")
        try:
            croniter(value, _SOME_DAY).get_next(datetime)
        except CroniterBadDateError:
            raise PydanticCustomError("never", "this day never comes; write Mondays at 9 as 0 9 * * 1") from None
        return value

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, OSError, ValueError):
            raise PydanticCustomError("zone", "Input should be the name of a time zone, like Europe/Vienna") from None
        return value


class Telemetry(CheckedSection):
    """The rollback and proposal files that the guide describes."""

    folder: Path = Path("telemetry/crl")
    """Folder of the files, relative to the worker's current folder; only one worker may write there."""


class Web(CheckedSection):
    """The dashboard in the browser: who may open it, and what they may do there."""

    host: str = "127.0.0.1"
    """Address on which `crl dashboard --web` listens. Any address except loopback needs worker.web_token or
    web.actor_header. A worker serves the dashboard at worker.web_host instead.
    """
    port: Annotated[int, Field(ge=0, le=65_535)] = 6_080
    """Port of `crl dashboard --web`; 0 picks a free one."""
    url: str = ""
    """Address under which people open the dashboard, e.g. https://crl.example.com; alerts then link to its pages."""
    commands: Literal["on", "off"] = "on"
    """Whether people can send commands from the pages; with off, a page only shows each command."""
    actor_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{0,100}$")] = ""
    """Header in which an authenticating proxy names the person, e.g. X-Forwarded-User; needs web.trusted_addresses."""
    trusted_addresses: str = ""
    """Addresses or networks of the proxies that may use web.actor_header, separated by commas."""
    allowed_hosts: str = ""
    """Further host names under which browsers open the dashboard, separated by commas, e.g. that of a proxy."""
    session_hours: Annotated[float, Field(ge=0.01, le=720.0)] = 12.0
    """Hours after which a person must sign in again."""
    streams: Annotated[int, Field(ge=1, le=1_000)] = 50
    """How many open pages of one process get live updates; further ones are refused."""
    trace_url_template: str = ""
    """Address of an invocation's trace, with {trace_id} in it, like https://traces.example.com/t/{trace_id}; empty: the
    trace ids are shown without a link.
    """

    @field_validator("host")
    @classmethod
    def _without_brackets(cls, value: str) -> str:
        """Turn ``[::1]``, the form used in URLs, into the address ``::1``."""
        return value[1:-1] if value.startswith("[") and value.endswith("]") else value

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        return _address(value)

    @field_validator("trace_url_template")
    @classmethod
    def _has_a_place_for_the_id(cls, value: str) -> str:
        parts = None
        with contextlib.suppress(ValueError):
            parts = urlsplit(value)
        usable = parts is not None and parts.scheme in {"http", "https"} and parts.hostname and value.isprintable()
        rest = value.replace("{trace_id}", "")
        if value and (not usable or rest == value or "{" in rest or "}" in rest or " " in value):
            raise PydanticCustomError("template", "Input should be an address like https://host/t/{trace_id}")
        return value


class _PromptStore(CheckedSection):
    """A prompt store whose labels follow the active variants; it is off while ``host`` is empty."""

    host: str = ""
    """Address of the store, like https://store.example.com; empty: labels there are not moved."""
    poll_seconds: Annotated[float, Field(ge=0.1, le=3_600.0)] = 10.0
    """Seconds between two checks of the labels, for moves that people made."""
    timeout_seconds: Annotated[float, Field(ge=0.1, le=120.0)] = 10.0
    """Time limit of one request."""
    alert_after_seconds: Annotated[float, Field(ge=0.1, le=86_400.0)] = 60.0
    """Seconds without an answer until people are alerted."""

    @field_validator("host")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        return _address(value)


class Langfuse(_PromptStore):
    """Langfuse, where a label of a prompt follows the active variant."""

    public_key: str = ""
    secret_key: SecretStr = SecretStr("")
    """Best set through CRL_MIRRORS_LANGFUSE_SECRET_KEY; never shown."""
    label: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,36}$")] = "production"
    """The label that is moved; `latest` belongs to Langfuse."""

    @field_validator("label")
    @classmethod
    def _is_free(cls, value: str) -> str:
        if value == "latest":
            raise PydanticCustomError("label", "Langfuse itself moves the label latest; choose another")
        return value


class MLflow(_PromptStore):
    """MLflow's prompt registry, where an alias of a prompt follows the active variant."""

    username: str = ""
    password: SecretStr = SecretStr("")
    """Best set through CRL_MIRRORS_MLFLOW_PASSWORD; never shown."""
    token: SecretStr = SecretStr("")
    """Bearer token, used instead of a password. Best set through CRL_MIRRORS_MLFLOW_TOKEN; never shown."""
    alias: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$")] = "production"
    """The alias that is moved; MLflow keeps `latest` and `v1`, `v2` and so on for itself."""

    @field_validator("alias")
    @classmethod
    def _is_free(cls, value: str) -> str:
        if re.fullmatch("latest|v[0-9]+", value.lower()):
            raise PydanticCustomError("alias", "MLflow keeps the aliases latest and v1, v2, ... for itself")
        return value


class Mirrors(NamedTuple):
    """The prompt stores whose labels follow the active variants."""

    langfuse: Langfuse = Langfuse()
    mlflow: MLflow = MLflow()

    @property
    def configured(self) -> bool:
        """Whether any store is."""
        return bool(self.langfuse.host or self.mlflow.host)


SECTIONS: dict[str, Any] = {
    "kafka": Kafka,
    "worker": Worker,
    "broker": Broker,
    "client": Client,
    "proposer": Proposer,
    "review": Review,
    "telemetry": Telemetry,
    "web": Web,
    "mirrors.langfuse": Langfuse,
    "mirrors.mlflow": MLflow,
}
POLICY_SECTIONS: dict[str, Any] = {field.name: field.type for field in msgspec.structs.fields(Policy)}


def is_policy(name: str) -> bool:
    """Return whether a dotted name is a setting of the policy; ``[review]`` has settings of both kinds."""
    section, _, entry = name.rpartition(".")
    return section in POLICY_SECTIONS and entry in POLICY_SECTIONS[section].__struct_fields__


def leaves() -> dict[str, Any]:
    """Return every setting by its dotted name, with its default; the name of a section may contain a dot itself."""
    found: dict[str, Any] = {}
    for name, section in SECTIONS.items():
        made = section()
        for field, value in msgspec.structs.asdict(made).items() if isinstance(made, msgspec.Struct) else made:
            found[f"{name}.{field}"] = value
    for name, section in POLICY_SECTIONS.items():
        for entry in msgspec.structs.fields(section):
            found[f"{name}.{entry.name}"] = entry.default
    return found
