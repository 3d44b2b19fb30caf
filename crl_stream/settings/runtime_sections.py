"""The sections that a runtime's client reads: where Kafka is, the embedded broker, and the client itself.

Workers and commands read the same sections, together with those of ``settings.model``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as other_field
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, field

from crl_stream.settings.fields import Secret, Section
from crl_stream.settings.origin import Origin
from crl_stream.settings.user_folders import user_folder

Port = Annotated[int, Meta(ge=1, le=65_535)]


class Kafka(Section, frozen=True, kw_only=True):
    """Kafka's address and the layout of the topics."""

    bootstrap_servers: str = ""
    """host:port, or several separated by commas; empty uses the embedded broker."""
    topic_prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,64}$")] = ""
    """Prefix of every topic, consumer group and changelog; it separates installations on one cluster."""
    partitions: Annotated[int, Meta(ge=1, le=1_024)] = 4
    """Partitions of crl.invocations and its related topics; cannot be changed later without a new log."""
    replication_factor: Annotated[int, Meta(ge=1, le=9)] = 1
    """Use 3 in production; with 3 or more, a write counts once two brokers have it."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: Secret = Secret("")
    """Best set through CRL_KAFKA_SASL_PASSWORD; never shown."""
    ssl_cafile: str = ""
    """Certificates of the authority that signed the brokers' certificates; empty uses the system's."""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""


class Broker(Section, frozen=True, kw_only=True):
    """The embedded broker."""

    data_dir: Path = field(default_factory=lambda: user_folder("XDG_DATA_HOME", ".local/share") / "broker")
    port: Port | None = None
    """Port of the embedded broker; if absent, the port of its last run, else 9092, else a free one."""
    heap_mb: Annotated[int, Meta(ge=256, le=32_768)] = 512


class Client(Section, frozen=True, kw_only=True):
    """The client library: its cache folder, the runtime's name, and how long closing may take."""

    cache_dir: Path = field(default_factory=lambda: user_folder("XDG_CACHE_HOME", ".cache"))
    """Folder for Kafka's jars and the active variants that a Resolver falls back to."""
    runtime_id: str = ""
    """Name of a runtime in outcomes and receipts; if empty, it is built from the host name and process id."""
    close_seconds: Annotated[float, Meta(ge=0.0, le=300.0)] = 2.0
    """Seconds that closing a client may take; messages that Kafka has not accepted by then are lost and reported."""


RUNTIME_SECTIONS: Final[dict[str, type[Section]]] = {"kafka": Kafka, "client": Client, "broker": Broker}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSettings:
    """The settings of a client."""

    kafka: Kafka
    client: Client
    broker: Broker
    origins: Mapping[str, Origin] = other_field(default_factory=dict)
    """Value and source of each setting by dotted name."""
