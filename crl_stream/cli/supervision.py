"""Supervision: a process that ends or falls silent is reported and restarted with growing pauses.

A restart fixes a crash, an outage and a hanging process. It does not fix a wrong setting (exit code 2) or topics that
do not match the catalog (78). If the monitor ends with one of these codes, or three times in a row with 70
(unsafe to continue), ``crl up`` ends too. A service that ends with 2 or 78 is restarted once a minute.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Final

from crl_stream.broker import EmbeddedBroker, Endpoint
from crl_stream.broker.recorded import Recorded
from crl_stream.cli.pulse import Pulse
from crl_stream.cli.talk import say
from crl_stream.errors import BrokerError, ConfigError, ContractError, Unsafe

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
STEADY_SECONDS: Final = 60.0
"""Seconds after which a process counts as having started successfully."""
UNMENDABLE: Final = frozenset({ConfigError.exit_code, ContractError.exit_code})
"""Exit codes of failures that a restart cannot fix."""
UNSAFE_ENDS: Final = 3
"""How many times in a row the monitor may find that it is unsafe to continue."""
BROKER_SILENT: Final = (10.0, 60.0)
"""Seconds without an answer before a broker is reported as silent, and before it is restarted."""
PROCESS_SILENT: Final = (20.0, 120.0)
"""The limits of ``BROKER_SILENT`` for a worker process, whose single thread may be busy with much input."""


class Patience:
    """The pause before a restart: one second, then twice as long each time the process soon fails again."""

    def __init__(self) -> None:
        self._pause = 0.0

    def pause_after(self, lived: float) -> float:
        """Return the seconds until the next start of a process that ran for ``lived`` seconds."""
        again = self._pause > 0.0 and lived < STEADY_SECONDS
        self._pause = min(LONGEST_PAUSE, 2.0 * self._pause) if again else FIRST_PAUSE
        return self._pause


class Silence:
    """Detects that a running process does not answer, reports it once, and says when to restart it."""

    def __init__(self, name: str, limits: tuple[float, float], pulse: Pulse) -> None:
        self._name, self._limits, self.pulse = name, limits, pulse
        self._said = False

    def is_too_long(self, process: Recorded) -> bool:
        """Check the process; return True if it should be killed and restarted."""
        seconds = self.pulse.silent_seconds()
        notable, too_long = self._limits
        if seconds < notable:
            if self._said:
                say(f"{self._name} answers again")
            self._said = False
            return False
        if not self._said:
            self._said = True
            if process.is_paused():
                what = f"is paused (SIGSTOP; `kill -CONT {process.pid}` resumes it)"
            else:
                what = "is running but does not answer"
            say(f"{self._name} (process {process.pid}) {what}; it will be restarted if this lasts {too_long:.0f} s")
        return seconds >= too_long

    def over(self) -> None:
        """Forget the silence after the process has been restarted."""
        self._said = False


class KeptProcess:
    """A process that is restarted when it ends or falls silent.

    ``start`` starts the process and returns it, ``ask`` returns whether it responds, and ``why`` says where to find the
    reason for its end.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], tuple[subprocess.Popen[bytes], Recorded]],
        ask: Callable[[], bool],
        *,
        why: str,
        needed: bool,
    ) -> None:
        self.name, self._start, self._why, self._needed = name, start, why, needed
        self._patience, self._restart_at, self._unsafe = Patience(), 0.0, 0
        self._silence = Silence(name, PROCESS_SILENT, Pulse(ask))
        self._begin()

    def _begin(self) -> None:
        self._began, self._restart_at = time.monotonic(), 0.0
        self.process, self.recorded = self._start()

    def watch(self) -> None:
        """Start checking whether the process responds."""
        self._silence.pulse.start()

    def keep(self, *, ask: bool = True) -> int | None:
        """Check the process and restart it if needed; returns an exit code if ``crl up`` must end.

        With ``ask`` False its silence does not count, because the broker it needs is down.
        """
        now = time.monotonic()
        if (code := self.process.poll()) is None:
            if not ask:
                self._silence.pulse.start()
            elif self._silence.is_too_long(self.recorded):
                say(f"{self.name} is being killed and restarted")
                self.process.kill()
                self.process.wait()
            return None
        if not self._restart_at:
            return self._ended(code, now)
        if now >= self._restart_at:
            self.begin_again()
        return None

    def begin_again(self) -> None:
        """Restart the process now that it has ended; if that fails, try again after a pause."""
        try:
            self._begin()
        except OSError as error:
            pause = self._patience.pause_after(0.0)
            self._restart_at = time.monotonic() + pause
            say(f"{self.name} cannot be started: {error.strerror or error}; next try in {pause:.0f} s")
            return
        self._silence.over()
        self.watch()

    def stop_watching(self) -> None:
        """Stop asking."""
        self._silence.pulse.stop()

    def _ended(self, code: int, now: float) -> int | None:
        lived = now - self._began
        self._unsafe = self._unsafe + 1 if code == Unsafe.exit_code and lived < STEADY_SECONDS else 0
        if self._needed and (code in UNMENDABLE or self._unsafe >= UNSAFE_ENDS):
            say(f"{self.name} ended with code {code}, {self._why} why; a restart would not fix that")
            return code
        pause = LONGEST_PAUSE if code in UNMENDABLE else self._patience.pause_after(lived)
        self._restart_at = now + pause
        how = f"ended with code {code}, {self._why} why" if code >= 0 else f"was ended by signal {-code}"
        mend = "; that may need an operator" if code in UNMENDABLE else ""
        say(f"{self.name} {how}{mend}; it will be restarted in {pause:.0f} s")
        return None


class KeptBroker:
    """The embedded broker, which is restarted when it ends or falls silent.

    ``moved`` is called when it comes back at another address.
    """

    def __init__(self, broker: EmbeddedBroker, endpoint: Endpoint, moved: Callable[[Endpoint], None]) -> None:
        self._broker, self.endpoint, self._moved = broker, endpoint, moved
        self._patience, self._restart_at, self._began = Patience(), 0.0, time.monotonic()
        self._process = broker.process()
        self._silence = Silence("Kafka", BROKER_SILENT, Pulse(broker.answers))
        self._silence.pulse.start()

    @property
    def is_well(self) -> bool:
        """Return whether the broker is running and has answered lately."""
        return not self._restart_at and self._silence.pulse.silent_seconds() < BROKER_SILENT[0]

    def keep(self) -> None:
        """Check the broker and restart it if needed."""
        now = time.monotonic()
        if self._restart_at:
            if now >= self._restart_at:
                self._start_again()
        elif self._process is None or not self._process.lives():
            self._wait_for_restart(self._broker.why_it_ended(), now)
        elif self._silence.is_too_long(self._process):
            say("Kafka is being killed and restarted")
            self._broker.stop(seconds=1.0)
            self._restart_at = now

    def stop_watching(self) -> None:
        """Stop asking."""
        self._silence.pulse.stop()

    def _wait_for_restart(self, error: BrokerError, now: float) -> None:
        pause = self._patience.pause_after(now - self._began)
        self._restart_at = now + pause
        say(f"{error.message} It will be restarted in {pause:.0f} s.")
        if error.hint:
            say(f"hint: {error.hint}")

    def _start_again(self) -> None:
        self._began = time.monotonic()
        try:
            endpoint = self._broker.start()
        except BrokerError as error:
            self._wait_for_restart(error, time.monotonic())
            return
        self._restart_at, self._process = 0.0, self._broker.process()
        self._silence.over()
        self._silence.pulse.start()
        say(f"Kafka answers again at {endpoint.bootstrap_servers}")
        moved = endpoint.bootstrap_servers != self.endpoint.bootstrap_servers
        self.endpoint = endpoint
        if moved:
            self._moved(endpoint)
