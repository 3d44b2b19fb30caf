"""A naive model of adoption: what each runtime has sent since the latest change, and what follows from these lists.

It shares no code with the engine.  Its numbers are those of ADR 66, and the grace for runtimes that report in batches;
times are in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any

RECENT, MANY, LONG, GRACE = 600_000, 5, 120_000, 10_000


@dataclass
class Host:
    """A runtime that the task knows."""

    heard: int = -1
    """When its last outcome came; -1: never."""
    named: bool = False
    """Whether it has ever named an epoch."""
    late: list[tuple[int, int]] = field(default_factory=list)
    """When each of its outcomes in an older epoch began and when it arrived, since the latest change."""
    moved: tuple[int, int] | None = None
    """Its late outcomes, and the milliseconds since the change, when it first named the present epoch."""
    stuck: bool = False
    expected: bool = False


@dataclass
class Crowd:
    """The runtimes of a task."""

    room: int
    """How many of them are remembered."""
    hosts: dict[str, Host] = field(default_factory=dict)
    """By name, the one heard last at the end."""
    epoch: int = 0
    since: int = 0
    cause: str = ""
    variant: str = ""
    followed: set[str] = field(default_factory=set)
    """All runtimes that have followed to the present epoch, also those that are forgotten."""
    open: bool = False
    """Whether the adoption of the present epoch is still to be published."""

    def change(self, epoch: int, now: int, cause: str, variant: str) -> list[tuple[Any, ...]]:
        """Begin a new epoch; return how far the old one had been adopted."""
        told = [self._adoption(complete=False)] if self.open else []
        told += [_no_longer_stuck(name) for name, host in self.hosts.items() if host.stuck]
        self.epoch, self.since, self.cause, self.variant, self.followed = epoch, now, cause, variant, set()
        for host in self.hosts.values():
            host.expected = host.named and now - host.heard <= RECENT
            host.late, host.moved, host.stuck = [], None, False
        self.open = any(host.expected for host in self.hosts.values())
        return told

    def hear(self, name: str, epoch: int | None, now: int, took: float | None) -> list[tuple[Any, ...]]:
        """Take an outcome of a runtime that did not explore, and that may name its epoch and how long it took."""
        told: list[tuple[Any, ...]] = []
        host = self.hosts.pop(name, None)
        if host is None:
            host = Host(named=True, moved=(0, 0)) if name in self.followed else Host()
            told += self._forget()
        self.hosts[name] = host
        began = host.heard if took is None else now - round(took * 1_000)
        host.heard = now
        if epoch is None:
            return told
        host.named |= epoch > 0
        if epoch < self.epoch:
            host.late.append((began, now))
            told += self._late(name, host, epoch)
        elif host.moved is None and self.epoch:
            host.moved = len(host.late), now - self.since
            told += [_no_longer_stuck(name)] * host.stuck
            host.stuck = False
            if name not in self.followed:
                self.followed.add(name)
                told.append(("receipt", name, self.variant, self.epoch, *host.moved))
            told += self._complete()
        return told

    def _late(self, name: str, host: Host, epoch: int) -> list[tuple[Any, ...]]:
        counted = [began for began, came in host.late if began > self.since and came > self.since + GRACE]
        began, came = host.late[-1]
        many = len(counted) > MANY
        if host.moved is not None or host.stuck:
            return []
        if began <= self.since or came <= self.since + GRACE or not (many or began > self.since + LONG):
            return []  # it cannot have known the change, or it may still follow
        host.stuck = True
        severity = "critical" if self.cause in ("rollback", "rollout_aborted") else "warning"
        alert = ("alert", "rollback_stuck", severity, name, False, float(len(host.late)), f"epoch {epoch},")
        return [alert, *self._complete()]

    def _forget(self) -> list[tuple[Any, ...]]:
        told = []
        for name in list(self.hosts)[: max(0, len(self.hosts) - self.room + 1)]:
            told += [_no_longer_stuck(name)] * self.hosts.pop(name).stuck
        return told + self._complete() if self.open else told

    def _complete(self) -> list[tuple[Any, ...]]:
        if not self.open or any(h.expected and h.moved is None and not h.stuck for h in self.hosts.values()):
            return []
        self.open = False
        return [self._adoption(complete=True)] if any(h.expected for h in self.hosts.values()) else []

    def _adoption(self, *, complete: bool) -> tuple[Any, ...]:
        expected = {name: host for name, host in self.hosts.items() if host.expected}
        moved = [host.moved for host in expected.values() if host.moved is not None]
        return (
            "adoption",
            self.variant,
            self.epoch,
            self.cause,
            complete,
            len(expected),
            len(moved),
            sum(late < 2 for late, _ in moved),
            tuple(sorted(name for name, host in expected.items() if host.stuck)),
            tuple(sorted(name for name, host in expected.items() if host.moved is None and not host.stuck)),
            float(median(late + 1 for late, _ in moved)) if moved else None,
            float(median(took for _, took in moved)) if moved else None,
        )


def _no_longer_stuck(name: str) -> tuple[Any, ...]:
    return "alert", "rollback_stuck", "info", name, True, None, ""
