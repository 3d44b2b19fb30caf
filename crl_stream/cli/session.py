"""The starting point of every command: the settings of this call and the Kafka they name."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crl_stream.cli.talk import progress_bar, say
from crl_stream.core.identity import TaskKey
from crl_stream.errors import Unavailable, UsageError

if TYPE_CHECKING:  # --version and --help must not wait for these imports
    from crl_stream.broker import EmbeddedBroker
    from crl_stream.settings import Settings
    from crl_stream.settings.model import Kafka


class Session:
    """One call of ``crl``."""

    def __init__(self, config_file: Path | None, flags: list[str], *, verbose: bool = False) -> None:
        self.config_file, self.verbose = config_file, verbose
        self.flags: dict[str, Any] = {}
        for flag in flags:
            name, equals, value = flag.partition("=")
            if not equals:
                raise UsageError(
                    f"--set {flag} has no value.", hint="write --set name=value, e.g. --set worker.web_port=6067"
                )
            self.flags[name.strip()] = value.strip()

    @cached_property
    def settings(self) -> Settings:
        """Return the settings as given; ``kafka.bootstrap_servers`` may be empty.

        Prints once what the user must know: which settings are ignored, and whether the home folder is missing.
        """
        from crl_stream.settings import load_settings
        from crl_stream.settings.user_folders import without_home

        settings = load_settings(file=self.config_file, flags=self.flags)
        if settings.untrusted is not None:
            say(settings.untrusted.sentence())
        if (missing := without_home()) is not None:
            say(missing)
        return settings

    @property
    def named_config(self) -> Path | None:
        """Return the settings file to pass to a process that is started with these settings.

        An untrusted file in the current folder is not passed, because naming it would trust it. The new process finds
        the file in the current folder.
        """
        settings = self.settings
        return None if settings.untrusted is not None or settings.file is None else settings.file.absolute()

    @property
    def connected(self) -> Settings:
        """Return the settings with Kafka's address: the given one, else that of the running embedded broker."""
        if self.settings.kafka.bootstrap_servers:
            return self.settings
        running = self.embedded_broker().status()
        if running is None:
            raise Unavailable(
                "No Kafka is configured, and the embedded broker is not running.",
                hint="run `crl up`, or `crl broker start` for the broker only; or set CRL_BOOTSTRAP_SERVERS",
            )
        return self.at(running.bootstrap_servers)

    @property
    def kafka(self) -> Kafka:
        """Return the Kafka section of ``connected``."""
        return self.connected.kafka

    def at(self, bootstrap_servers: str, **worker: Any) -> Settings:
        """Return these settings with Kafka at ``bootstrap_servers`` and changed worker settings."""
        from dataclasses import replace

        kafka = self.settings.kafka.model_copy(update={"bootstrap_servers": bootstrap_servers})
        return replace(self.settings, kafka=kafka, worker=self.settings.worker.model_copy(update=worker))

    def embedded_broker(
        self, *, data_dir: Path | None = None, port: int | None = None, ephemeral: bool = False
    ) -> EmbeddedBroker:
        """The embedded broker that these settings describe."""
        from crl_stream.broker import EmbeddedBroker

        broker = self.settings.broker
        return EmbeddedBroker(
            data_dir or broker.data_dir,
            self.settings.client.cache_dir,
            port=port or broker.port,
            heap_mb=broker.heap_mb,
            ephemeral=ephemeral,
            progress=progress_bar(),
        )


def task_key(text: str) -> TaskKey:
    """Parse the name of a task, ``agent_name/task_type``."""
    try:
        return TaskKey.parse(text)
    except ValueError as error:
        raise UsageError(f"{error}.", hint="name a task as agent_name/task_type; crl status lists the tasks") from error
