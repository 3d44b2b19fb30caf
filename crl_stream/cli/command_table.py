"""Every command of ``crl`` and its module, which is imported only when the command is needed.

A call runs one command, and importing the modules of all commands would take longer than running most of them.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any, Final

from typer import Typer
from typer.main import get_group

PLACES: Final[dict[str, str]] = {
    "undo": "orders:undo",
    "confirm": "orders:confirm",
    "pin": "orders:pin",
    "unpin": "orders:unpin",
    "hold": "orders:hold",
    "resume": "orders:resume",
    "activate": "orders:activate",
    "register": "orders:register",
    "retire": "orders:retire",
    "propose": "propose:propose",
    "accept": "orders:accept",
    "demo": "demo.command:demo",
    "up": "up:up",
    "down": "down:down",
    "worker": "worker:worker",
    "publish": "publish:publish",
    "replay": "replay:replay",
    "drill": "drill.command:drill_protection",
    "sync": "sync.command:sync",
    "calibrate": "calibrate.command:calibrate",
    "tail": "tail:tail",
    "status": "status:status",
    "dashboard": "dashboard:dashboard",
    "runtimes": "runtimes:runtimes",
    "audit": "audit:audit",
    "explain": "explain:explain",
    "why-not": "why_not:why_not",
    "window": "window:window",
    "export": "export.command:export",
    "archive": "archive:archive",
    "broker": "broker:app",
    "topics": "topics:app",
    "topology": "topology:topology",
    "policy": "policy:app",
    "rollbacks": "rollbacks.command:app",
    "quarantine": "quarantine:app",
    "dead-letters": "dead_letters.command:app",
    "rollout": "rollout:app",
    "proposals": "proposals.command:app",
    "notify": "notify:app",
    "config": "config:app",
}
"""Where each command is: ``module:name`` in this folder; the name is a function or a ``Typer`` with subcommands."""


class CommandTable(MutableMapping[str, Any]):
    """Typer's commands by name; those in ``PLACES`` are loaded when accessed, not when their names are listed."""

    def __init__(self, loaded: MutableMapping[str, Any]) -> None:
        self._loaded = loaded

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = _load(name, PLACES[name])
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in PLACES or name in self._loaded

    def __iter__(self) -> Iterator[str]:
        return iter(PLACES | dict.fromkeys(self._loaded))

    def __len__(self) -> int:
        return len({*PLACES, *self._loaded})

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError("commands cannot be removed")


def _load(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    found = getattr(import_module(f"crl_stream.cli.{module}"), attribute)
    # Typer can build a command only from a function that is registered with a group.
    group = Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    if isinstance(found, Typer):
        group.add_typer(found, name=name)
    else:
        group.command(name)(found)
    return get_group(group).commands[name]
