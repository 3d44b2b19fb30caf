"""``Store``: records outcomes and provides figures, in this process or on the live topics of an installation."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from aiokafka.errors import KafkaConnectionError

from crl_stream.client.address import kafka_of
from crl_stream.client.publisher import checked, utc_now
from crl_stream.core import messages as m
from crl_stream.core.policy import Policy, PolicySet
from crl_stream.errors import InvalidMessage
from crl_stream.guide.source import Source
from crl_stream.settings import Settings, load_remedies, load_script_settings
from crl_stream.settings.model import Kafka

FOLDER: Final = Path("telemetry/crl")
"""The guide's folder, relative to the program's current folder."""

log = logging.getLogger(__name__)
_default: Store | None = None
_lock = threading.Lock()


class Store:
    """The data that the guide's four objects share.

    ``Store()`` keeps the rows in this process: recorded outcomes are folded at once, by the workers' engine. Windows,
    Q-values, rollbacks and proposals are written to ``folder`` for the next process; with None, no file is written.
    Only one process at a time can record into a folder; others can read it and report its rollbacks. ``modifications``
    is a catalogue that replaces the shipped one. ``Store.connect()`` returns a store on the topics of a running
    installation.
    """

    def __init__(
        self,
        folder: Path | str | None = FOLDER,
        *,
        policy: Policy | PolicySet | None = None,
        modifications: Path | str | None = None,
        source: Source | None = None,
    ) -> None:
        if source is None:
            from crl_stream.guide.memory import Memory

            policies = policy if isinstance(policy, PolicySet) else PolicySet(policy or Policy())
            remedies = load_remedies(None if modifications is None else Path(modifications))
            source = Memory(None if folder is None else Path(folder), policies, remedies)
        self.source = source

    @classmethod
    def connect(
        cls, bootstrap_servers: str | None = None, *, settings: Settings | None = None, timeout: float = 30.0
    ) -> Self:
        """Connect to the live topics at ``bootstrap_servers``, or at the address in the settings.

        Settings come from ``CRL_*`` and the file that ``CRL_CONFIG`` names; no file in the current folder is read. The
        call returns when the topics have been read to the end. It raises ``Unavailable`` if Kafka has not answered
        within ``timeout`` seconds, and ``ContractError`` if the topics do not exist. Close the store to make sure that
        recorded outcomes are sent. The figures are those of each task's latest snapshot. Snapshots are published with
        every decision; otherwise with every tenth outcome, at most once a second (``limits.snapshot_outcomes``,
        ``limits.snapshot_seconds``).
        """
        from crl_stream.guide.live import Live

        if settings is None:
            flags = {} if bootstrap_servers is None else {"kafka.bootstrap_servers": bootstrap_servers}
            settings = _settings(flags)
        return cls(source=Live(settings, timeout))

    @classmethod
    def default(cls) -> Store:
        """Return the store for objects that are built without one; the first call creates it.

        It uses the live topics if the settings give Kafka's address (``CRL_BOOTSTRAP_SERVERS``, or the file that
        ``CRL_CONFIG`` names), or if ``crl up`` or ``crl broker start`` runs a Kafka on this machine. Otherwise it keeps
        its data in this process, with the policy from the settings and the guide's folder. No file in the current
        folder is read.
        """
        global _default  # noqa: PLW0603 - objects built without arguments share one store
        with _lock:
            if _default is None:
                settings = _settings()
                running = _running_kafka(settings)
                if running is not None:
                    _default = cls.connect(settings=replace(settings, kafka=running))
                else:
                    _default = cls(
                        settings.telemetry.folder,
                        policy=settings.policies,
                        modifications=settings.proposer.modifications,
                    )
            return _default

    def make_default(self) -> Store | None:
        """Make this store the default and return the previous one."""
        global _default
        with _lock:
            before, _default = _default, self
        return before

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.close()

    def record(self, invocation: m.Invocation | m.Feedback | Mapping[str, Any]) -> bool:
        """Record one finished invocation, or a late reward or quality (``Feedback``).

        A mapping has the fields of the contract (``topics/README.md``); version, id and timestamp are filled in if
        missing. Returns False if the invocation_id is a duplicate. Raises ``InvalidMessage``, which says what is wrong.
        """
        return self.source.record(_message(invocation))

    def order(self, command: m.AnyTaskCommand) -> m.CommandResult:
        """Send an operator's command (see ``kafka.commands.task_command``); raises ``CommandRefused``."""
        return self.source.order(command)

    def get_active_variants(self) -> list[tuple[str, str, str]]:
        """Return (agent_name, task_type, variant_id) for every task with an active variant, sorted by name."""
        return self.source.active_variants()

    def wait_until(self, condition: Callable[[], bool], timeout: float = 30.0) -> bool:
        """Wait until ``condition`` holds, checking it after every change; return False after ``timeout`` seconds.

        This is needed for live topics, where the workers fold outcomes a moment after they were recorded.
        """
        return self.source.wait_until(condition, timeout)

    def close(self) -> None:
        """Send or write waiting records, and close."""
        global _default  # noqa: PLW0603 - as in default()
        self.source.close()
        with _lock:
            if _default is self:
                _default = None


def _settings(flags: Mapping[str, Any] | None = None) -> Settings:
    """Return a script's settings, and log which settings were not read."""
    found = load_script_settings(flags=flags)
    for note in found.notes:
        log.warning("%s", note)
    return found.settings


def _running_kafka(settings: Settings) -> Kafka | None:
    """Return the configured Kafka, else the embedded one running on this machine; None if there is neither."""
    try:
        return kafka_of(settings)
    except KafkaConnectionError:
        return None


def _message(given: m.Invocation | m.Feedback | Mapping[str, Any]) -> m.Invocation | m.Feedback:
    message: m.Invocation | m.Feedback
    if isinstance(given, m.Invocation | m.Feedback):
        message = given
    else:
        late = given.get("type") == "feedback"
        filled = {
            "schema_version": m.SCHEMA_VERSION,
            "timestamp": utc_now(),
            "feedback_id" if late else "invocation_id": uuid.uuid4().hex,
        }
        kind: type[m.Feedback | m.Invocation] = m.Feedback if late else m.Invocation
        try:
            message = msgspec.convert(filled | dict(given), kind)
        except msgspec.ValidationError as error:
            raise InvalidMessage(
                f"The outcome does not fit the schema: {error}.", hint="see topics/README.md"
            ) from None
    checked(message)
    return message
