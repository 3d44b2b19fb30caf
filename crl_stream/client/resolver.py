"""Returns the variant to use: immediately, from memory, whatever the state of Kafka.

It follows ``crl.active-variants`` and ``crl.variants`` in the background. When a task has two records, it keeps the one
with the higher (incarnation, epoch, offset), so a late or repeated record changes nothing. Variants known from a file,
or from before the connection was lost, are used until both topics have been read to the end. They are then replaced,
whatever their epochs, because the cluster may be a new one.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, TypeAlias

from crl_stream.client.background import Background
from crl_stream.client.exploration import DEFAULT, Choose, policies, policy_named, uniform
from crl_stream.client.keeping import Keeper, kept_file, read_kept, why_unusable
from crl_stream.client.lifetimes import waits
from crl_stream.client.sessions import MOST as SESSIONS
from crl_stream.client.sessions import Sessions
from crl_stream.client.setting_up import Setup, set_up
from crl_stream.client.troubles import Troubles, utc_now
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.messages.inputs import VariantSource
from crl_stream.errors import ConfigError
from crl_stream.wire.topic_names import ACTIVE_VARIANTS, VARIANTS
from crl_stream.wire.weights import variant_of

if TYPE_CHECKING:
    from pathlib import Path

    from crl_stream.client.following import View
    from crl_stream.settings.runtime_sections import RuntimeSettings

log = logging.getLogger(__name__)

STALE_SECONDS: Final = 30.0
"""Seconds without a response from Kafka after which known variants count as stale."""
State: TypeAlias = Literal["live", "stale", "unknown"]
"""``live``: changes are followed; ``stale``: what was known before is used; ``unknown``: nothing is known."""


class Resolution(NamedTuple):
    """The variant to use for one invocation."""

    variant_id: str
    epoch: int | None
    """Epoch in the active-variant record; send it with the outcome as ``active_epoch``."""
    source: VariantSource
    variant: m.RegisteredVariant | None
    """What is registered about the variant: configuration, ref, parent, model, temperature, modifications."""

    @property
    def configuration(self) -> dict[str, Any] | None:
        """The variant's configuration: the registered JSON object; None if there is none. Do not change it."""
        return None if self.variant is None else self.variant.configuration

    @property
    def ref(self) -> str | None:
        """Where the variant's configuration is kept, such as ``langfuse:refund@12``; None if nothing is registered."""
        return None if self.variant is None else self.variant.ref


class Resolver:
    """Follows the active variants. It is thread-safe and survives a fork; ``resolve`` never waits and never raises.

    ``settings`` default to those in the environment and in ``file`` or ``CRL_CONFIG`` (``load_client_settings``). If
    they are bad, that is logged and ``resolve`` returns defaults; with ``strict`` they raise ``ConfigError``.
    ``exploration_policy`` names a file in ``client/exploration``; its policy chooses the variant to explore.
    """

    def __init__(
        self,
        settings: RuntimeSettings | Setup | None = None,
        *,
        file: Path | str | None = None,
        rng: random.Random | None = None,
        exploration: float | None = None,
        exploration_policy: str = DEFAULT,
        strict: bool = False,
        troubles: Troubles | None = None,
    ) -> None:
        self._setup = set_up(settings, file=file, strict=strict)
        self.settings = self._setup.settings
        self.exploration = exploration
        """Share of invocations that explore, in [0, 1]; None to use the task's policy."""
        self._rng = rng or random.Random()
        self._troubles = troubles or Troubles()
        self._choose = self._policy_named(exploration_policy, strict=strict)
        self._explores_itself = exploration is not None or exploration_policy != DEFAULT
        """Whether this runtime's own settings replace the shares that the monitor publishes."""
        self._sessions = Sessions()
        self._owns_troubles = troubles is None
        self._active: dict[TaskKey, m.ActiveVariant] = {}
        self._known: dict[TaskKey, m.VariantCatalogue] = {}
        self._from_file: set[TaskKey] = set()
        self._cluster_id: str | None = None
        """Id of the cluster that the known variants come from."""
        self._heard = float("-inf")
        self._listeners: list[Callable[[m.ActiveVariant], None]] = []
        self._catalogue_listeners: list[Callable[[m.VariantCatalogue], None]] = []
        self._state_listeners: list[Callable[[State], None]] = []
        self._told: State = "unknown"
        self._closed = False
        self._fresh()
        if self._owns_troubles:
            self._setup.say(self._troubles)
        self._load()
        waits(self)
        self._start()

    def _fresh(self) -> None:
        """Create everything that a forked child cannot share with its parent."""
        self._start_lock = threading.Lock()
        self._changed = threading.Condition()
        self._caught_up = threading.Event()
        self._background: Background | None = None
        without_file = bool(self._setup.without_kafka)
        self._keeper = Keeper(self.settings, self._to_keep, self._troubles, without_file=without_file)
        self._following_since: str | None = None

    def __enter__(self) -> Self:
        """Return the resolver, which has already started."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop following."""
        self.close()

    def resolve(
        self,
        agent_name: str,
        task_type: str,
        default: str | None = None,
        *,
        invocation_id: str | None = None,
        session_id: str | None = None,
        began_with: str | None = None,
    ) -> Resolution | None:
        """Return the variant for the next invocation; None if the task is unknown and there is no default.

        While there are weights, ``session_id`` determines the variant, or ``invocation_id`` without a session: the same
        id gets the same one everywhere.  Without any id, the choice is random.  If the task's ``on_change`` is
        ``next_session``, a session keeps the variant that it began with: ``began_with``, or what this resolver chose
        for its first invocation.
        """
        if self._background is None:
            self._start()
        try:
            return self._look_up(TaskKey(agent_name, task_type), default, invocation_id, session_id, began_with)
        except Exception as error:  # a name that is not text, or a share that is not a number
            self._troubles.say("resolve", f"{agent_name!r:.100}, {task_type!r:.100} cannot be looked up: {error}")
            return None if default is None else Resolution(default, None, "default", None)

    @property
    def following_since(self) -> str | None:
        """Return the time since which changes have been followed (RFC 3339); None while they are not."""
        return self._following_since if time.monotonic() - self._heard < STALE_SECONDS else None

    @property
    def restarts(self) -> int:
        """Return the number of times that the resolver had to start again to follow changes."""
        return max(0, self._background.attempts - 1) if self._background is not None else 0

    def wait_until_ready(self, timeout: float = 10.0) -> bool:
        """Wait until all changes published so far are known; return False if Kafka did not respond in time."""
        if self._background is None:
            self._start()
        return self._caught_up.wait(timeout)

    def wait_for_epoch(self, agent_name: str, task_type: str, epoch: int, timeout: float = 10.0) -> bool:
        """Wait up to ``timeout`` seconds until the task's active variant has this ``epoch`` or a later one."""
        if self._background is None:
            self._start()
        key = TaskKey(agent_name, task_type)
        with self._changed:
            return self._changed.wait_for(
                lambda: (active := self._active.get(key)) is not None and active.epoch >= epoch, timeout
            )

    def on_change(self, listener: Callable[[m.ActiveVariant], None]) -> None:
        """Call ``listener`` with every new active variant, in the resolver's thread; it must not block."""
        self._listeners.append(listener)

    def on_catalogue(self, listener: Callable[[m.VariantCatalogue], None]) -> None:
        """Call ``listener`` with every new catalogue of variants, in the resolver's thread; it must not block."""
        self._catalogue_listeners.append(listener)

    def on_state(self, listener: Callable[[State], None]) -> None:
        """Call ``listener`` whenever ``state`` changes, in the resolver's thread; it must not block."""
        self._state_listeners.append(listener)

    @property
    def state(self) -> State:
        """Return whether changes are followed, or else whether anything is known."""
        if self._caught_up.is_set() and time.monotonic() - self._heard < STALE_SECONDS:
            return "live"
        return "stale" if self._active else "unknown"

    def active_variant(self, agent_name: str, task_type: str) -> m.ActiveVariant | None:
        """Return the latest known record of a task's active variant; None if there is none."""
        return self._active.get(TaskKey(agent_name, task_type))

    def catalogue(self, agent_name: str, task_type: str) -> m.VariantCatalogue | None:
        """Return the latest known catalogue of a task's variants; None if there is none."""
        return self._known.get(TaskKey(agent_name, task_type))

    @property
    def tasks(self) -> int:
        """Return the number of tasks with a known active variant."""
        return len(self._active)

    def tell_to_close(self) -> None:
        """Begin to close without waiting."""
        if self._background is not None:
            self._background.tell_to_stop()

    def close(self, timeout: float | None = None) -> None:
        """Stop following within ``timeout`` seconds (default: ``client.close_seconds``); known variants are kept."""
        until = time.monotonic() + (self.settings.client.close_seconds if timeout is None else max(0.0, timeout))
        first, self._closed = not self._closed, True
        if self._background is not None:
            self._background.stop((until - time.monotonic()) * 0.8)
        self._keeper.finish(until - time.monotonic())
        if first and self._owns_troubles:
            self._troubles.close()

    # -- lifetime ----------------------------------------------------------------------------------
    def forked(self) -> None:
        """Prepare the resolver in a forked child: keep the known variants and start a new thread on the first lookup.

        If there are listeners, the thread starts at once.
        """
        self._fresh()
        self._sessions.forked()
        if self._owns_troubles:
            self._troubles.forked()
        if self._listeners or self._catalogue_listeners or self._state_listeners:
            self._start()

    def at_exit(self, deadline: float) -> None:
        """Close the resolver if the program ends without having closed it."""
        if not self._closed:
            self.close(max(0.0, deadline - time.monotonic()))

    def _start(self) -> None:
        with self._start_lock:
            if self._background is None and not self._closed and not self._setup.without_kafka:
                # Imported with the first client, before there are threads.
                from crl_stream.client.following import PATIENCE_SECONDS, Following

                following = Following(self.settings, self, self._troubles, self._beat)
                self._background = background = Background(
                    "crl-resolver",
                    following.attempt,
                    trouble=self._failed,
                    tick=self._ticked,
                    patience=PATIENCE_SECONDS,
                )
                try:
                    background.start()
                except RuntimeError as error:  # the program is ending, or has reached its limit of threads
                    self._background = None
                    self._troubles.say("threads", f"rollbacks cannot be followed: {error}")

    def _beat(self) -> None:
        if self._background is not None:
            self._background.beat()

    def _failed(self, error: BaseException) -> None:
        """Report that an attempt to follow the topics has ended."""
        from crl_stream.client.address import reason_of
        from crl_stream.client.following import Reread

        if isinstance(error, Reread):
            log.info("rereading the active variants: %s", error)
            return
        self._following_since = None
        self._troubles.say("kafka", f"Kafka does not answer: {reason_of(error)}; {self._used_meanwhile()}")

    def _used_meanwhile(self) -> str:
        """Return a phrase that says which variants are used while Kafka does not answer."""
        active, from_file = self._active, self._from_file
        if not active:
            return "no variant is known yet, so each call gets its own default"
        known = "1 task" if len(active) == 1 else f"{len(active)} tasks"
        if from_file.issuperset(active):
            return f"the variants of {known} that an earlier run kept in {kept_file(self.settings)} are used"
        return f"the last known variants of {known} are used"

    def _ticked(self) -> None:
        self._troubles.tick()
        silent = time.monotonic() - self._heard
        if self._caught_up.is_set() and silent >= STALE_SECONDS:
            self._following_since = None
            self._troubles.say("stale", f"Kafka has not answered for {silent:.0f} s; {self._used_meanwhile()}")
        self._tell_state()

    # -- looking up --------------------------------------------------------------------------------
    def _look_up(
        self,
        key: TaskKey,
        default: str | None,
        invocation_id: str | None,
        session_id: str | None,
        began_with: str | None,
    ) -> Resolution | None:
        active = self._active.get(key)
        if active is None:
            return None if default is None else Resolution(default, None, "default", self._registered(key, default))
        invocation_id, session_id = self._usable("invocation_id", invocation_id), self._usable("session_id", session_id)
        began_with = self._usable("began_with", began_with)
        if active.weights is not None and (active.rollout is not None or not self._explores_itself):
            found = self._weighted(key, active, active.weights, session_id or invocation_id)
        else:
            found = self._explored(key, active, session_id)
        if active.on_change == "next_session" and (session_id is not None or began_with is not None):
            return self._kept(key, active, session_id, began_with, found)
        return found

    def _usable(self, name: str, given: str | None) -> str | None:
        """Return an id that is a text; None for an empty id, and for anything else, which is also reported."""
        if not given:
            return None
        try:
            given.encode()
        except (AttributeError, UnicodeEncodeError):
            self._troubles.say("resolve", f"{name} is not a text, so it is not used: {given!r:.100}")
            return None
        return given

    def _kept(
        self, key: TaskKey, active: m.ActiveVariant, session_id: str | None, began_with: str | None, found: Resolution
    ) -> Resolution:
        """Return the variant that the session began with, unless it is retired; a new session begins with ``found``."""
        kept = began_with or (self._sessions.known(key, session_id) if session_id is not None else None)
        if kept is not None and kept != found.variant_id:
            known = self._registered(key, kept)
            if known is None or known.state != "retired":
                if kept == active.variant_id:
                    return Resolution(kept, active.epoch, self._source(key), known)
                is_candidate = active.rollout is not None and kept == active.rollout.variant_id
                return Resolution(kept, active.epoch, "explore" if is_candidate else "session", known)
        is_new = kept != found.variant_id and session_id is not None
        if is_new and self._sessions.begin(key, str(session_id), found.variant_id):
            said = f"more than {SESSIONS} sessions: the one that was used longest ago follows the next change"
            self._troubles.say("sessions", f"{said}; give began_with to keep its variant")
        return found

    def _explored(self, key: TaskKey, active: m.ActiveVariant, session_id: str | None) -> Resolution:
        """Return the active variant, or one that this runtime's own exploration policy chooses."""
        share = active.exploration if self.exploration is None else self.exploration
        if share > 0.0:
            rng = self._rng if session_id is None else random.Random(session_id)
            if rng.random() < share and (others := self._explorable(key, active)):
                chosen = self._explore(others, rng)
                if chosen is not None:
                    return Resolution(chosen.variant_id, active.epoch, "explore", chosen)
        return Resolution(active.variant_id, active.epoch, self._source(key), self._registered(key, active.variant_id))

    def _weighted(
        self, key: TaskKey, active: m.ActiveVariant, weights: dict[str, int], unit_id: str | None
    ) -> Resolution:
        """Return the variant that the weights give to a session or an invocation.

        While Kafka does not answer, that is the active variant: a rollout may have been aborted.
        """
        variant_id, source = active.variant_id, self._source(key)
        if source == "live":
            chosen = variant_of(weights, variant_id, unit_id or f"{self._rng.getrandbits(64):x}")
            # A candidate that is not in the catalogue yet has no configuration that could be used.
            if chosen != variant_id and (known := self._registered(key, chosen)) is not None:
                return Resolution(chosen, active.epoch, "explore", known)
        return Resolution(variant_id, active.epoch, source, self._registered(key, variant_id))

    def _source(self, key: TaskKey) -> VariantSource:
        if key in self._from_file:
            return "file"
        return "live" if time.monotonic() - self._heard < STALE_SECONDS else "stale"

    def _registered(self, key: TaskKey, variant_id: str) -> m.RegisteredVariant | None:
        known = self._known.get(key)
        return next((v for v in known.variants if v.variant_id == variant_id), None) if known is not None else None

    def _explore(self, others: list[m.RegisteredVariant], rng: random.Random) -> m.RegisteredVariant | None:
        """Return the variant to try; if the policy fails, return None, so that the active variant is used."""
        try:
            chosen = self._choose(others, rng)
            if any(chosen is other for other in others):
                return chosen
            wrong = f"{chosen!r:.100} is not one of the variants to choose from"
        except Exception as error:  # a third-party policy may raise anything
            wrong = f"{type(error).__name__}: {error}"
        self._troubles.say("exploration", f"the exploration policy failed, so nothing is explored: {wrong}")
        return None

    def _policy_named(self, name: Any, *, strict: bool) -> Choose:
        """Return the exploration policy of this name; if it does not exist, log that and return the default one."""
        try:
            found = policy_named(name) if isinstance(name, str) else None
            wrong = f"there is no exploration policy {name!r:.100}"
        except Exception as error:  # a third-party policy may raise anything
            if strict:
                raise
            found, wrong = None, f"the exploration policies cannot be loaded: {error}"
        if found is not None:
            return found
        if strict:
            raise ConfigError(f"There is no exploration policy {name!r:.100}.", hint=f"one of {', '.join(policies())}")
        self._troubles.say("exploration", f"{wrong}: {DEFAULT} is used")
        return uniform.choose

    def _explorable(self, key: TaskKey, active: m.ActiveVariant) -> list[m.RegisteredVariant]:
        known = self._known.get(key)
        if known is None:
            return []
        barred = {active.variant_id, *active.quarantined}
        return [v for v in known.variants if v.variant_id not in barred and v.state != "retired" and not v.quarantined]

    # -- what the follower has read ----------------------------------------------------------------
    def quiet(self) -> float:
        """Return the number of seconds without a response from Kafka after which to reconnect."""
        return STALE_SECONDS

    def connected(self, cluster_id: str | None) -> None:
        """Record that a cluster has responded; discard variants that the file holds for another cluster."""
        if cluster_id is not None and self._cluster_id is not None and cluster_id != self._cluster_id:
            with self._changed:
                self._active = {key: active for key, active in self._active.items() if key not in self._from_file}
                if self._from_file:
                    self._known = {}
                self._from_file = set()
        self._cluster_id = cluster_id or self._cluster_id

    def heard(self) -> None:
        """Record that Kafka has answered."""
        self._heard = time.monotonic()
        if self._following_since is None and self._caught_up.is_set():
            self._following_since = utc_now()
        self._keeper.look()
        self._tell_state()

    def show(self, view: View) -> None:
        """Replace all known variants with those of a view that has been read to the end."""
        before, known = self._active, self._known
        with self._changed:
            self._active, self._known, self._from_file = view.active, view.known, set()
            self._heard = time.monotonic()
            self._following_since = utc_now()
            self._caught_up.set()
            self._changed.notify_all()
        self._keeper.changed()
        for kind in ("kafka", "stale", "topics"):
            self._troubles.over(kind, "Kafka answers again; changes of active variants are followed again")
        if gone := before.keys() - view.active.keys():
            which = f"1 task ({min(gone)})" if len(gone) == 1 else f"{len(gone)} tasks ({min(gone)} among them)"
            self._troubles.say(
                "forgotten",
                f"Kafka no longer knows the active variant of {which}: defaults are used. Was crl.active-variants "
                "deleted? A worker refills it when it starts",
            )
        for key, message in view.active.items():
            if before.get(key) != message:
                self._call(self._listeners, message)
        for key, catalogue in view.known.items():
            if self._catalogue_listeners and known.get(key) != catalogue:
                self._call(self._catalogue_listeners, catalogue)
        self._tell_state()

    def tell(self, message: m.ActiveVariant | m.VariantCatalogue) -> None:
        """Pass a record that was just added to the view to the file, to waiting callers and to listeners."""
        self._keeper.changed()
        if isinstance(message, m.ActiveVariant):
            with self._changed:
                self._changed.notify_all()
            self._call(self._listeners, message)
        else:
            self._call(self._catalogue_listeners, message)

    def _tell_state(self) -> None:
        """Tell listeners if the state has changed."""
        now = self.state
        if now != self._told:
            self._told = now
            self._call(self._state_listeners, now)

    def _call(self, listeners: Iterable[Callable[[Any], None]], message: Any) -> None:
        for listener in list(listeners):
            try:
                listener(message)
            except BaseException as error:  # a failing listener must not end the thread or the program
                log.debug("a listener failed", exc_info=True)
                self._troubles.say("listener", f"an on_change listener failed: {type(error).__name__}: {error}")

    # -- the file ----------------------------------------------------------------------------------
    def _load(self) -> None:
        if self._setup.without_kafka:
            return
        stores: dict[str, dict[TaskKey, Any]] = {ACTIVE_VARIANTS: self._active, VARIANTS: self._known}
        if (unusable := why_unusable(self.settings)) is not None:
            keeps = "active variants are not kept for use during outages"
            self._troubles.say("file", f"{keeps}: {unusable}; client.cache_dir names the folder")
        kept = read_kept(self.settings, stores)
        if kept.wrong is not None:
            self._troubles.say("kept", f"variants kept by an earlier run are not used: {kept.wrong}")
        for topic, message in kept.messages:
            stores[topic][TaskKey(message.agent_name, message.task_type)] = message
        self._from_file, self._cluster_id = set(self._active), kept.cluster_id

    def _to_keep(self) -> tuple[dict[str, list[Any]], str | None]:
        # Another thread may change the dicts at the same time, but ``list`` copies them in one step.
        known: dict[str, list[Any]] = {
            ACTIVE_VARIANTS: list(self._active.values()),
            VARIANTS: list(self._known.values()),
        }
        return known, self._cluster_id
