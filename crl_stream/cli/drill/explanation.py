"""Explains what is missing when a step of a drill does not happen, and what to do next."""

from __future__ import annotations

from typing import Final, NamedTuple

from crl_stream.errors import CrlError

_STATUS: Final = "`crl status` shows whether its worker is running and keeping up"


class Awaited(NamedTuple):
    """A step that an exercise of a drill waits for."""

    step: str
    what: str
    """The sentence that says what is missing, for a step that does not happen."""
    hint: str


class Missing(CrlError):
    """Raised when a step of the drill does not happen."""

    def __init__(self, step: str, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.step = step


class Occupied(CrlError):
    """Raised when another drill is running on the task."""


WAITS: Final = {
    wait.step: wait
    for wait in (
        Awaited(
            "outcomes",
            "Kafka has not stored the drill's outcomes",
            "a drill publishes like a runtime: its user must be allowed to write crl.invocations; crl topics diff "
            "shows what is wrong with the topics",
        ),
        Awaited(
            "command",
            "no worker has applied the drill's command",
            f"{_STATUS}; this user must be allowed to write crl.commands and to read crl.decisions",
        ),
        Awaited("degradation", "no degradation alert has arrived", f"{_STATUS}; crl policy show prints the limits"),
        Awaited("rollback", "no rollback has arrived", f"{_STATUS}; crl policy show prints the limits"),
        Awaited(
            "alert",
            "no alert for operators is on crl.alerts",
            "this user must be allowed to read crl.alerts; without it, no notifier can alert anyone",
        ),
        Awaited(
            "active",
            "crl.active-variants does not name the target",
            "this user must be allowed to read crl.active-variants; without it, no runtime learns of the rollback",
        ),
        Awaited(
            "runtime",
            "the client has not followed the rollback",
            "runtimes on this host and with these settings would keep using the bad variant: check the network and "
            "the ACL of crl.active-variants",
        ),
        Awaited("receipt", "no receipt for the runtime is on crl.receipts", _STATUS),
        Awaited("record", "the monitor has not recorded the result", _STATUS),
    )
}
"""What each step means when it is missing, by its name and in the order of the drill."""


def blocked_hint(why: str, task: str) -> str:
    """Return what to do about the mode and the holds named in ``why``, in the monitor's words."""
    steps = []
    if "shadow mode" in why or "observe mode" in why:
        steps.append('set operations.mode = "enforce" and run crl policy apply when rollbacks should happen')
    if "the fleet is held" in why:
        steps.append("crl resume --all releases the fleet")
    if why.startswith("held by") or "; held by" in why:
        steps.append(f"crl resume {task} releases the task")
    return "; ".join(steps) or f"crl window {task} shows what prevents the rollback"
