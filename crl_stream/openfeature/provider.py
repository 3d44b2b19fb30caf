"""The provider: it answers OpenFeature's evaluations from the resolver's memory, and publishes what is tracked.

It obeys the laws of the client: it never raises into the agent, never waits for Kafka, and reports each kind of problem
in the log.
"""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Any, Final

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode, ProviderFatalError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata
from openfeature.track import TrackingEventDetails

from crl_stream.client.invocation import ENTER_SECONDS, Client
from crl_stream.client.lifetimes import waits
from crl_stream.client.resolver import Resolution, State
from crl_stream.client.setting_up import set_up
from crl_stream.client.troubles import Troubles
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey, is_identifier
from crl_stream.errors import ConfigError
from crl_stream.openfeature.evaluations import Evaluation, Evaluations
from crl_stream.openfeature.flags import (
    BOOLEAN_FLAG,
    FLOAT_FLAG,
    INTEGER_FLAG,
    OBJECT_FLAG,
    STRING_FLAG,
    VARIANT,
    Answer,
    Flag,
    Wanted,
    answer,
    details,
)
from crl_stream.openfeature.outcomes import parse_event, publish_feedback, publish_outcome
from crl_stream.settings import Settings

NAME: Final = "crl-stream"
_AFTER_INITIALIZE_SECONDS: Final = 0.2
"""Seconds after which a state other than READY is announced: the SDK announces READY when ``initialize`` returns."""


class CrlProvider(AbstractProvider):
    """Answers flags with the active variants of tasks.

    ``settings`` and ``file`` are those of ``crl_stream.client.Client``; a ``client`` that is given is used as it is,
    and not closed. ``default_variant`` names the agent's own configuration, which is used while no variant is known.
    ``wait_seconds`` is how long ``initialize`` may wait for Kafka. With ``strict``, bad settings raise; otherwise they
    are logged, and every evaluation answers the default with the error code PROVIDER_FATAL.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        client: Client | None = None,
        file: Path | str | None = None,
        runtime_id: str | None = None,
        default_variant: str = "default",
        wait_seconds: float = ENTER_SECONDS,
        strict: bool = False,
    ) -> None:
        super().__init__()
        self._settings, self._file, self._runtime_id, self._strict = settings, file, runtime_id, strict
        self._given, self._client = client, client
        self._wait_seconds = wait_seconds
        self._default_variant = default_variant
        self._evaluations = Evaluations()
        self._troubles = Troubles()
        """Problems from before there is a client, and after it."""
        self._shown: dict[TaskKey, tuple[Any, ...]] = {}
        """What each flag answered at its last known change."""
        self._pending: set[TaskKey] = set()
        """Flags whose change will be announced when changes are followed again."""
        self._fatal = ""
        self._follows = self._live = self._was_live = False
        """Whether this provider listens to its client; whether changes are followed now, and were followed before."""
        self._told: State | None = None
        """The state that was announced last; None before ``initialize`` and after ``shutdown``."""
        self.forked()
        waits(self)

    # -- lifetime ----------------------------------------------------------------------------------
    def initialize(self, evaluation_context: EvaluationContext) -> None:  # noqa: ARG002 - OpenFeature's signature
        """Start to follow the active variants; wait at most ``wait_seconds`` for Kafka."""
        with self._lock:
            self._fatal = ""
            client = self._client = self._client or self._connected()
            self._told = "live"
        if client is None:
            if self._strict:
                raise ProviderFatalError(self._fatal)
        else:
            self._follow(client)
            client.resolver.wait_until_ready(self._wait_seconds)
            if client.resolver.state == "live":
                return
        self._announce_later()

    def _connected(self) -> Client | None:
        """Return a client with these settings; None if they are bad."""
        try:
            setup = set_up(self._settings, file=self._file, strict=self._strict)
            if setup.without_kafka:
                self._fatal = setup.without_kafka
                setup.say(self._troubles)
                return None
            client = Client(setup.settings, runtime_id=self._runtime_id, strict=self._strict)
            setup.say(client.publisher.troubles)
            return client
        except ConfigError as error:
            self._fatal = str(error)
        except Exception as error:  # such as a limit of threads: an agent must not fail because of it
            self._fatal = f"{type(error).__name__}: {error}"
        self._say("settings", f"the OpenFeature provider answers defaults: {self._fatal}")
        return None

    def _follow(self, client: Client) -> None:
        if not self._follows:
            self._follows = True
            client.resolver.on_change(self._changed)
            client.resolver.on_catalogue(self._changed)
            client.resolver.on_state(self._state_changed)
            if client.resolver.state == "live":
                self._live = self._was_live = True

    def shutdown(self) -> None:
        """Send waiting outcomes and stop, within ``client.close_seconds``; ``initialize`` may start it again."""
        with self._lock:
            client, self._client, self._told = self._client, self._given, None
            if self._given is None:
                self._follows = self._live = self._was_live = False
                self._shown, self._pending = {}, set()
        if client is not None and self._given is None:
            client.close()
        self._troubles.close()

    def forked(self) -> None:
        """Give a forked child its own locks; its client handles the rest."""
        self._lock = threading.Lock()
        self._troubles.forked()
        self._evaluations.forked()

    def at_exit(self, deadline: float) -> None:  # noqa: ARG002 - it takes no time
        """Log the counts of problems that have not been logged yet; the client sends what is waiting."""
        self._troubles.close()

    def _say(self, kind: str, text: str) -> None:
        """Report a problem: with those of the client, whose ``health()`` shows the last one, if there is a client."""
        client = self._client
        (self._troubles if client is None else client.publisher.troubles).say(kind, text)

    def get_metadata(self) -> Metadata:
        """Return the provider's name."""
        return Metadata(name=NAME)

    @property
    def client(self) -> Client | None:
        """Return the client, for its ``health()``; None before ``initialize`` and after ``shutdown``."""
        return self._client

    # -- events ------------------------------------------------------------------------------------
    def _announce_later(self) -> None:
        """Announce the state once the SDK has announced READY, which it does when ``initialize`` returns."""

        def announce() -> None:
            threading.Event().wait(_AFTER_INITIALIZE_SECONDS)
            client = self._client
            self._announce("unknown" if client is None else client.resolver.state, again=True)

        try:
            threading.Thread(target=announce, name="crl-openfeature", daemon=True).start()
        except RuntimeError as error:  # the program is ending, or has reached its limit of threads
            self._say("threads", f"the provider's state cannot be announced: {error}")

    def _state_changed(self, state: State) -> None:
        before, self._live = self._live, state == "live"
        self._announce(state)
        if self._live and not before:
            # What was read at the beginning is no change of a flag: READY announces it.
            changed, self._pending = sorted(map(str, self._pending)), set()
            if changed and self._was_live:
                self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=changed))
            self._was_live = True

    def _announce(self, state: State, *, again: bool = False) -> None:
        """Tell OpenFeature the state; ``again`` repeats one other than READY, which the SDK's READY has replaced."""
        with self._lock:
            if self._told is None or (self._told == state and not (again and state != "live")):
                return
            self._told = state
        if state == "live":
            self.emit_provider_ready(ProviderEventDetails(message="changes of active variants are followed"))
        elif state == "stale":
            said = "Kafka does not answer; the last known variants are used"
            self.emit_provider_stale(ProviderEventDetails(message=said))
        elif self._fatal:
            self.emit_provider_error(
                ProviderEventDetails(message=self._fatal, error_code=ErrorCode.PROVIDER_FATAL),
            )
        else:
            said = "Kafka does not answer, and no variant is known; defaults are used"
            self.emit_provider_error(
                ProviderEventDetails(message=said, error_code=ErrorCode.PROVIDER_NOT_READY),
            )

    def _changed(self, message: m.ActiveVariant | m.VariantCatalogue) -> None:
        """Announce that a flag may answer something else, unless nothing that it shows has changed."""
        key = TaskKey(message.agent_name, message.task_type)
        before, now = self._shown.get(key), self._showing(key)
        self._shown[key] = now
        if before == now:
            return
        if self._live:
            self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=[str(key)]))
        else:
            self._pending.add(key)

    def _showing(self, key: TaskKey) -> tuple[Any, ...]:
        """Return everything that decides what a flag answers."""
        client = self._client
        if client is None:
            return ()
        active, known = client.resolver.active_variant(*key), client.resolver.catalogue(*key)
        variants = () if known is None else known.variants
        return (
            None if active is None else (active.variant_id, active.weights, active.on_change),
            [(one.variant_id, one.configuration is not None, one.ref, one.state == "retired") for one in variants],
        )

    def emit(self, event: ProviderEvent, details: ProviderEventDetails) -> None:
        """Pass an event to OpenFeature; a failing handler must not stop the resolver."""
        try:
            super().emit(event, details)
        except Exception as error:
            self._say("events", f"OpenFeature did not accept an event: {type(error).__name__}: {error}")

    # -- evaluations -------------------------------------------------------------------------------
    def resolve_object_details(
        self, flag_key: str, default_value: Any, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Any]:
        """Answer ``agent/task`` with the variant's configuration, or ``agent/task/field`` with an object in it."""
        return self._evaluate(flag_key, OBJECT_FLAG, default_value, evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Answer ``agent/task`` with the variant's id, or ``agent/task/field`` with a text in its configuration."""
        return self._evaluate(flag_key, STRING_FLAG, default_value, evaluation_context)

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Answer ``agent/task/field`` with a boolean in the variant's configuration."""
        return self._evaluate(flag_key, BOOLEAN_FLAG, default_value, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Answer ``agent/task/field`` with a whole number in the variant's configuration."""
        return self._evaluate(flag_key, INTEGER_FLAG, default_value, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Answer ``agent/task/field`` with a number in the variant's configuration."""
        return self._evaluate(flag_key, FLOAT_FLAG, default_value, evaluation_context)

    def _evaluate(
        self, flag_key: str, wanted: Wanted, default: Any, context: EvaluationContext | None
    ) -> FlagResolutionDetails[Any]:
        client = self._client
        if client is None:
            code = ErrorCode.PROVIDER_FATAL if self._fatal else ErrorCode.PROVIDER_NOT_READY
            said = self._fatal or "the provider is not initialized"
            return FlagResolutionDetails(value=default, error_code=code, error_message=said, reason=Reason.ERROR)
        try:
            return self._evaluate_with(client, Flag.parse(flag_key), wanted, default, context)
        except ValueError as error:
            code, said = ErrorCode.FLAG_NOT_FOUND, str(error)
        except Exception as error:  # such as a context that is not one
            code, said = ErrorCode.GENERAL, f"{type(error).__name__}: {error}"
            self._say("evaluation", f"the flag {flag_key!r:.200} cannot be evaluated: {said}")
        return FlagResolutionDetails(value=default, error_code=code, error_message=said, reason=Reason.ERROR)

    def _evaluate_with(
        self, client: Client, flag: Flag, wanted: Wanted, default: Any, context: EvaluationContext | None
    ) -> FlagResolutionDetails[Any]:
        attributes = {} if context is None else context.attributes
        session_id = None if context is None else context.targeting_key or None
        invocation_id = attributes.get("invocation_id")
        if not isinstance(invocation_id, str) or not is_identifier(invocation_id):
            invocation_id = uuid.uuid4().hex
        began_with = attributes.get("began_with")
        fallback = self._default_variant
        if flag.field in {None, VARIANT} and wanted is STRING_FLAG and is_identifier(default):
            fallback = default
        found = client.resolver.resolve(
            *flag.key,
            invocation_id=invocation_id,
            session_id=session_id,
            began_with=began_with if isinstance(began_with, str) else None,
        )
        if found is None:
            answered = self._unknown(client, flag)
            found = Resolution(fallback, None, "default", None)
        else:
            answered = answer(flag, wanted, default, found, fallback)
            if answered.error is ErrorCode.GENERAL:
                self._say(f"configuration {flag.key}", str(answered.message))
                found = Resolution(fallback, found.epoch, "default", None)
        evaluation = Evaluation(found, invocation_id, session_id)
        self._evaluations.add(flag.key, evaluation)
        active = client.resolver.active_variant(*flag.key)
        metadata = evaluation.metadata()
        if found.ref is not None:
            metadata["ref"] = found.ref
        if active is not None and active.rollback_id is not None:
            metadata["rollback_id"] = active.rollback_id
        return details(answered, default, found, active, metadata)

    @staticmethod
    def _unknown(client: Client, flag: Flag) -> Answer:
        if client.resolver.state == "unknown":
            return Answer(error=ErrorCode.PROVIDER_NOT_READY, message="Kafka has not answered yet")
        return Answer(error=ErrorCode.FLAG_NOT_FOUND, message=f"no active variant of {flag.key} is known")

    # -- tracking ----------------------------------------------------------------------------------
    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Publish an outcome (event ``agent/task``) or a late score (event ``agent/task/feedback``).

        The event's value is the quality, 0 to 1; its attributes are fields of the contract. Events without a slash in
        their name belong to the application and are ignored.
        """
        try:
            session_id = None if evaluation_context is None else evaluation_context.targeting_key or None
            given = tracking_event_details or TrackingEventDetails()
            event = parse_event(tracking_event_name, session_id, given.value, given.attributes)
            if event is None:
                return
            client = self._client
            if client is None:
                why = self._fatal or "the provider is not initialized"
                self._say("track", f"an outcome of {event.key} is not published: {why}")
                return
            publish = publish_feedback if event.is_feedback else publish_outcome
            if unknown := publish(client.publisher, event, self._evaluations):
                names = ", ".join(sorted(map(str, unknown)))
                self._say(
                    "attributes", f"attributes of {event.key} that are not fields of an outcome are ignored: {names}"
                )
        except Exception as error:  # also such as attributes that are not a mapping
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        """Count and log an outcome that cannot be published."""
        client = self._client
        if client is not None:
            client.publisher.reject(error)
        else:
            self._say("track", f"a tracking event is ignored: {error}")
