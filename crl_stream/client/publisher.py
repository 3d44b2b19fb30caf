"""Sends outcomes in the background. It never raises into the agent, never blocks it, and counts what it cannot send."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, Final, Self

from crl_stream.client.background import Background
from crl_stream.client.lifetimes import notice_the_end, waits
from crl_stream.client.outbox import QUEUE_SIZE, Item, Outbox, PublisherStats
from crl_stream.client.scores import usable
from crl_stream.client.setting_up import Setup, set_up
from crl_stream.client.troubles import Troubles, utc_now
from crl_stream.core import messages as m
from crl_stream.core.drills import DRILL_AGENT, is_drill
from crl_stream.core.identity import is_identifier, suggest_identifier
from crl_stream.errors import ConfigError, InvalidMessage
from crl_stream.wire.cloudevents import event_headers
from crl_stream.wire.runtime_codec import Rejected, decode_outcome, encode, not_finite
from crl_stream.wire.topic_names import INVOCATIONS, Topics

if TYPE_CHECKING:
    from pathlib import Path

    from crl_stream.client.sending import Sending
    from crl_stream.settings.runtime_sections import RuntimeSettings

__all__ = ["QUEUE_SIZE", "Publisher", "PublisherStats", "checked", "default_runtime_id", "utc_now"]

log = logging.getLogger(__name__)

_STOP_SHARE: Final = 0.15
"""Share of the closing time that is reserved for ending the thread."""


def default_runtime_id() -> str:
    """Return a name for this process, made of the host name and the process id."""
    return suggest_identifier(f"{socket.gethostname()}-{os.getpid()}")


def checked(message: m.Invocation | m.Feedback) -> tuple[bytes, bytes]:
    """Encode a message as (key, value) and check that it can be read; raises ``InvalidMessage`` with a hint."""
    try:
        value = encode(message)
        key = f"{message.agent_name}/{message.task_type}".encode()
    except Exception as error:
        raise InvalidMessage(f"The message cannot be written as JSON: {error}.", hint="see topics/README.md") from None
    # JSON cannot express infinity or NaN: they become null, so fields need checking only if the text contains null.
    if b"null" in value and (wrong := not_finite(message)) is not None:
        raise InvalidMessage(f"{wrong} is {getattr(message, wrong)}, not a number.", hint="omit it if it is unknown")
    decoded = decode_outcome(value, key)
    if isinstance(decoded, Rejected):
        raise _complaint(message, decoded)
    if is_drill(message.agent_name) and getattr(message, "runtime_id", None) != DRILL_AGENT:
        # Other outcomes of this agent would count nowhere, and would disturb the next drill.
        raise InvalidMessage(
            f"The agent_name {DRILL_AGENT} is reserved for the drills of `crl drill`.", hint="use another agent_name"
        )
    return key, value


def _complaint(message: m.Invocation | m.Feedback, rejected: Rejected) -> InvalidMessage:
    for name in ("agent_name", "task_type", "variant_id", "invocation_id", "runtime_id", "feedback_id"):
        text = getattr(message, name, None)
        if isinstance(text, str) and not is_identifier(text):
            return InvalidMessage(
                f"{name} {text[:128]!r} is not an identifier.",
                hint=f"write {suggest_identifier(text)!r} (1 to 128 letters, digits or . _ : -)",
            )
    return InvalidMessage(f"The message does not fit its schema: {rejected.detail}", hint="see topics/README.md")


class Publisher:
    """Publishes invocations and late feedback. It is thread-safe and survives a fork.

    A message stays in memory until Kafka has it; ``close`` and the end of the program wait for that, up to a limit.
    ``settings`` default to those that ``load_client_settings`` finds with ``file``. If they are bad, that is logged and
    nothing is sent; with ``strict`` they raise ``ConfigError``.
    """

    def __init__(
        self,
        settings: RuntimeSettings | Setup | None = None,
        *,
        file: Path | str | None = None,
        runtime_id: str | None = None,
        strict: bool = False,
        troubles: Troubles | None = None,
    ) -> None:
        setup = set_up(settings, file=file, strict=strict)
        self.settings = setup.settings
        self._without_kafka = setup.without_kafka
        self._given_id = name_of(runtime_id, self.settings, strict=strict)
        self.runtime_id = _identifier(self._given_id) or default_runtime_id()
        self._troubles = troubles or Troubles()
        self._owns_troubles = troubles is None
        self._outbox = Outbox(self._awake)
        self._topic = Topics(self.settings.kafka.topic_prefix)(INVOCATIONS)
        self._start_lock = threading.Lock()
        self._background: Background | None = None
        self._closed = False
        self._sending = self._new_sending()
        if self._owns_troubles:
            setup.say(self._troubles)
        if self._given_id and self.runtime_id != self._given_id:
            said = f"{_about_id(self._given_id)}; this runtime is called {self.runtime_id!r} instead"
            self._troubles.say("runtime_id", said)
        waits(self)
        self._start()

    def __enter__(self) -> Self:
        """Return the publisher, which has already started."""
        return self

    def __exit__(self, *_: object) -> None:
        """Send waiting messages, then close."""
        self.close()

    @property
    def trouble(self) -> str:
        """Return the reason for the last failed attempt to send; empty if none has failed."""
        return self._without_kafka or self._sending.trouble

    @property
    def connected_since(self) -> str | None:
        """Return the time since which Kafka has been accepting outcomes (RFC 3339); None while it does not."""
        return self._sending.connected_since

    @property
    def troubles(self) -> Troubles:
        """Return the recorded problems, for ``Client.health``."""
        return self._troubles

    def publish(self, message: m.Invocation | m.Feedback, *, traceparent: str | None = None) -> bool:
        """Queue a message. If it is invalid or the queue is full, log that and return False; never raise."""
        try:
            try:
                key, value = checked(message)
            except InvalidMessage:
                message, left_out = usable(message)
                key, value = checked(message)
                for sentence in left_out:
                    self._troubles.say(f"score {sentence.partition(' ')[0]}", f"{sentence}; the rest is published")
            item = Item(key, value, list(event_headers(message, key, traceparent=traceparent)))
        except Exception as error:
            self.reject(error)
            return False
        if self._background is None:
            self._start()
        if self._outbox.put(item):
            return True
        why = "it is closed" if self._closed else self._without_kafka or f"{QUEUE_SIZE} outcomes are already waiting"
        self._troubles.say("dropped", f"an outcome is dropped: {why}")
        return False

    def invocation(
        self, agent_name: str, task_type: str, variant_id: str, status: m.inputs.Status, **fields: Any
    ) -> bool:
        """Publish one finished invocation; ``status`` is ``success``, ``failure`` or ``error``.

        ``agent_name`` and ``task_type`` name the task, and ``variant_id`` the variant that ran. ``fields`` are further
        fields of the contract. Numbers may be of any type (numpy, Decimal, ...); an unusable one is left out, and that
        is logged.
        """
        fields.setdefault("invocation_id", uuid.uuid4().hex)
        fields.setdefault("timestamp", utc_now())
        fields.setdefault("runtime_id", self.runtime_id)
        try:
            message = m.Invocation(
                schema_version=m.SCHEMA_VERSION,
                agent_name=agent_name,
                task_type=task_type,
                variant_id=variant_id,
                status=status,
                **fields,
            )
        except Exception as error:
            self.reject(error)
            return False
        return self.publish(message)

    def feedback(
        self,
        agent_name: str,
        task_type: str,
        invocation_id: str,
        *,
        reward: float | None = None,
        quality: float | None = None,
        source: str | None = None,
    ) -> bool:
        """Publish a score that became known after its invocation: ``reward`` in [-1, 1] or ``quality`` in [0, 1].

        ``agent_name``, ``task_type`` and ``invocation_id`` name the invocation; ``source`` names who or what judged it.
        """
        return self.publish(
            m.Feedback(
                schema_version=m.SCHEMA_VERSION,
                feedback_id=uuid.uuid4().hex,
                timestamp=utc_now(),
                agent_name=agent_name,
                task_type=task_type,
                invocation_id=invocation_id,
                reward=reward,
                quality=quality,
                source=source,
            )
        )

    def reject(self, error: Exception) -> None:
        """Count an outcome that cannot be published, and log why."""
        self._outbox.reject()
        text = " ".join(str(error).split()) or type(error).__name__
        log.debug("not published: %s", text)
        self._troubles.say("rejected", f"an outcome is not published: {text}")

    def abandon(self) -> None:
        """Count an invocation that was ended from outside; nothing is published."""
        self._outbox.abandon()

    @property
    def stats(self) -> PublisherStats:
        """Return the counts since the start, or since the fork in a forked process."""
        return self._outbox.stats

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until Kafka has every message; return False if that takes longer than ``timeout`` seconds."""
        return self._outbox.wait_until_empty(timeout)

    def close(self, timeout: float | None = None) -> PublisherStats:
        """Send waiting messages for at most ``timeout`` seconds (default: ``client.close_seconds``); drop the rest."""
        limit = self.settings.client.close_seconds if timeout is None else max(0.0, timeout)
        until = time.monotonic() + limit
        first, self._closed = not self._closed, True
        self._outbox.close()
        if not self._without_kafka:
            self._outbox.wait_until_empty(limit * (1.0 - _STOP_SHARE))
        if self._background is not None:
            self._background.tell_to_stop()
        if lost := self._outbox.give_up():
            self._troubles.say(
                "lost",
                f"outcomes are lost: Kafka did not accept {lost} of them before the client closed ({self.trouble})",
                1,
            )
        if self._background is not None:
            self._background.join(until - time.monotonic())
        if first and self._owns_troubles:
            self._troubles.close()
        return self.stats

    # -- lifetime ----------------------------------------------------------------------------------
    def forked(self) -> None:
        """Give a forked child its own name and queue; it gets a thread and a connection with its first message."""
        self._start_lock = threading.Lock()
        self._background = None
        self.runtime_id = _identifier(self._given_id, f"-{os.getpid()}") or default_runtime_id()
        if self._owns_troubles:
            self._troubles.forked()
        self._outbox.forked()
        self._sending = self._new_sending()

    def at_exit(self, deadline: float) -> None:
        """Close the publisher if the program ends without having closed it."""
        if not self._closed:
            self.close(min(self.settings.client.close_seconds, max(0.0, deadline - time.monotonic())))

    def _new_sending(self) -> Sending:
        from crl_stream.client.sending import Sending  # imported with the first client, before there are threads

        return Sending(self.settings, self._topic, self._outbox, self._troubles)

    def _start(self) -> None:
        with self._start_lock:
            if self._background is None and not self._closed and not self._without_kafka:
                notice_the_end()
                sending = self._sending
                self._background = Background(
                    "crl-publisher", sending.attempt, trouble=sending.failed, tick=self._troubles.tick
                )
                try:
                    self._background.start()
                except RuntimeError as error:  # the program is ending, or has reached its limit of threads
                    self._background = None
                    self._troubles.say("threads", f"outcomes cannot be sent: {error}")
        if self._without_kafka:
            self._outbox.close()

    def _awake(self) -> None:
        if self._background is not None:
            self._background.call(self._sending.awake)


def name_of(runtime_id: str | None, settings: RuntimeSettings, *, strict: bool) -> str:
    """Return the name given to a runtime, or ""; with ``strict``, an unusable name raises ``ConfigError``."""
    given = str(runtime_id or settings.client.runtime_id)
    if strict and given and not is_identifier(given):
        raise ConfigError(f"{_about_id(given)}.", hint=f"write {suggest_identifier(given)!r}")
    return given


def _about_id(given: str) -> str:
    """Return what is wrong with a runtime's name."""
    return f"runtime_id {given[:128]!r} is not an identifier (1 to 128 letters, digits or . _ : -)"


def _identifier(given: str, more: str = "") -> str:
    """Convert a given name to an identifier."""
    return suggest_identifier(given)[: 128 - len(more)] + more if given else ""
