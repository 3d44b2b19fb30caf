"""Looking after what runs: what ends or falls silent is said, and started again with patience.

A restart mends a crash, an outage and a process that hangs.  It does not mend a wrong setting (exit code 2) or topics
that do not fit (78): the monitor's end by one of them ends ``crl up``, and so does a monitor that finds three times in
a row that it is unsafe to go on (70).  What runs beside the monitor is tried again once a minute then.
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
"""A process that has lived so long did not fail at its start."""
UNMENDABLE: Final = frozenset({ConfigError.exit_code, ContractError.exit_code})
"""Exit codes of a process that ends the same way when it is started again."""
UNSAFE_ENDS: Final = 3
"""How often in a row the monitor may find that it is unsafe to go on."""
BROKER_SILENT: Final = (10.0, 60.0)
"""Seconds without an answer after which a broker is said to be silent, and after which it is started again."""
PROCESS_SILENT: Final = (20.0, 120.0)
"""The same of a worker process, whose one thread may be busy with much input."""


class Patience:
    """How long something that has ended stays down: a second, and twice as long each time it fails soon again."""

    def __init__(self) -> None:
        self._pause = 0.0

    def pause_after(self, lived: float) -> float:
        """Seconds until the next start, of what has lived ``lived`` seconds."""
        again = self._pause > 0.0 and lived < STEADY_SECONDS
        self._pause = min(LONGEST_PAUSE, 2.0 * self._pause) if again else FIRST_PAUSE
        return self._pause


class Silence:
    """Notices that something which lives does not answer, says so once, and says when it must be started again."""

    def __init__(self, name: str, limits: tuple[float, float], pulse: Pulse) -> None:
        self._name, self._limits, self.pulse = name, limits, pulse
        self._said = False

    def is_too_long(self, process: Recorded) -> bool:
        """Look; True when it should be killed and started again."""
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
                what = f"is paused (SIGSTOP; `kill -CONT {process.pid}` wakes it up)"
            else:
                what = "runs and does not answer"
            say(f"{self._name} (process {process.pid}) {what}; it is started again if that lasts {too_long:.0f} s")
        return seconds >= too_long

    def over(self) -> None:
        """It has been started again."""
        self._said = False


class KeptProcess:
    """A process that is started again when it ends or falls silent.

    ``start`` starts it and returns it; ``why`` says where the reason stands; ``ask`` whether it answers.
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
        """Ask from now on whether it answers."""
        self._silence.pulse.start()

    def keep(self, *, ask: bool = True) -> int | None:
        """Look after it; the exit code that ends the whole installation, else None.

        ``ask`` False takes no silence amiss: what it needs is away itself.
        """
        now = time.monotonic()
        if (code := self.process.poll()) is None:
            if not ask:
                self._silence.pulse.start()
            elif self._silence.is_too_long(self.recorded):
                say(f"{self.name} is killed and started again")
                self.process.kill()
                self.process.wait()
            return None
        if not self._restart_at:
            return self._ended(code, now)
        if now >= self._restart_at:
            self.begin_again()
        return None

    def begin_again(self) -> None:
        """Start it once more, now that it has ended; when that cannot be done, in a while."""
        try:
            self._begin()
        except OSError as error:
            pause = self._patience.pause_after(0.0)
            self._restart_at = time.monotonic() + pause
            say(f"{self.name} cannot be started: {error.strerror or error}; tried again in {pause:.0f} s")
            return
        self._silence.over()
        self.watch()

    def stop_watching(self) -> None:
        """Ask no more."""
        self._silence.pulse.stop()

    def _ended(self, code: int, now: float) -> int | None:
        lived = now - self._began
        self._unsafe = self._unsafe + 1 if code == Unsafe.exit_code and lived < STEADY_SECONDS else 0
        if self._needed and (code in UNMENDABLE or self._unsafe >= UNSAFE_ENDS):
            say(f"{self.name} ended with code {code}, {self._why} why; starting it again would not mend that")
            return code
        pause = LONGEST_PAUSE if code in UNMENDABLE else self._patience.pause_after(lived)
        self._restart_at = now + pause
        how = f"ended with code {code}, {self._why} why" if code >= 0 else f"was ended by signal {-code}"
        mend = "; that may need a person" if code in UNMENDABLE else ""
        say(f"{self.name} {how}{mend}; it is started again in {pause:.0f} s")
        return None


class KeptBroker:
    """The embedded broker, started again when it ends or falls silent.

    ``moved`` is called when it has come back at another address.
    """

    def __init__(self, broker: EmbeddedBroker, endpoint: Endpoint, moved: Callable[[Endpoint], None]) -> None:
        self._broker, self.endpoint, self._moved = broker, endpoint, moved
        self._patience, self._restart_at, self._began = Patience(), 0.0, time.monotonic()
        self._process = broker.process()
        self._silence = Silence("Kafka", BROKER_SILENT, Pulse(broker.answers))
        self._silence.pulse.start()

    @property
    def is_well(self) -> bool:
        """Whether it runs and has answered lately."""
        return not self._restart_at and self._silence.pulse.silent_seconds() < BROKER_SILENT[0]

    def keep(self) -> None:
        """Look after it."""
        now = time.monotonic()
        if self._restart_at:
            if now >= self._restart_at:
                self._start_again()
        elif self._process is None or not self._process.lives():
            self._wait_for_restart(self._broker.why_it_ended(), now)
        elif self._silence.is_too_long(self._process):
            say("Kafka is killed and started again")
            self._broker.stop(seconds=1.0)
            self._restart_at = now

    def stop_watching(self) -> None:
        """Ask no more."""
        self._silence.pulse.stop()

    def _wait_for_restart(self, error: BrokerError, now: float) -> None:
        pause = self._patience.pause_after(now - self._began)
        self._restart_at = now + pause
        say(f"{error.message} It is started again in {pause:.0f} s.")
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
