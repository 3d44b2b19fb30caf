"""Every error a user may see, each with a hint that says what to do next.

    CrlError
    +-- ConfigError        a setting is unknown, ill-formed or contradictory          exit 2
    +-- UsageError         a command was called with invalid arguments                exit 2
    +-- IncompletePart     the file of a detector, rule or channel is incomplete      exit 2
    +-- InvalidMessage     a message was refused before it was sent                   exit 2
    +-- NotFound           the requested task, record or file does not exist          exit 4
    +-- CommandRefused     the monitor refused an operator's command                  exit 5
    +-- DrillFailed        a step of a drill is missing, or rollbacks are off         exit 6
    +-- BrokerError        the embedded broker cannot be started, stopped or fetched  exit 69
    +-- Unavailable        Kafka or a worker does not respond                         exit 69
    +-- DrillRunning       another drill is running on the same task                  exit 75
    +-- ContractError      topics on the broker do not match the catalog              exit 78
    +-- Unsafe             continuing could lose or duplicate events                  exit 70
        +-- Unanswered     a required response did not arrive; nothing was changed

The exit codes follow sysexits(3) from 64 on.  A command line prints ``message`` and ``hint`` to stderr,
never a traceback.
"""

from __future__ import annotations

from typing import ClassVar


class CrlError(Exception):
    """An error in one sentence, with a hint that says what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class ConfigError(CrlError):
    """A setting is unknown or ill-formed, or it contradicts another."""

    exit_code = 2


class UsageError(CrlError):
    """A command was called with invalid arguments."""

    exit_code = 2


class IncompletePart(CrlError):
    """The file of a detector, rule or channel lacks something that every file of its folder must define."""

    exit_code = 2


class InvalidMessage(CrlError):
    """A message was refused locally, before it was sent; nothing was published."""

    exit_code = 2


class NotFound(CrlError):
    """The requested task, variant, record or file does not exist."""

    exit_code = 4


class CommandRefused(CrlError):
    """The monitor read the command and refused it; the message gives the reason."""

    exit_code = 5


class DrillFailed(CrlError):
    """A step of the drill did not happen, or a mode or hold switches rollbacks off."""

    exit_code = 6


class DrillRunning(CrlError):
    """Another drill is running on the same task; try again later."""

    exit_code = 75


class BrokerError(CrlError):
    """The embedded broker cannot be fetched, started or stopped."""

    exit_code = 69


class PortTaken(BrokerError):
    """Another program is listening on the broker's port."""


class Unavailable(CrlError):
    """Kafka or a worker does not respond."""

    exit_code = 69


class ContractError(CrlError):
    """The topics on the broker do not match the catalog; the worker refuses to start."""

    exit_code = 78


class Unsafe(CrlError):
    """Continuing could lose or duplicate events; the worker exits without committing."""

    exit_code = 70


class Unanswered(Unsafe):
    """The broker did not respond in time; the caller retries if it can wait, and exits otherwise."""
