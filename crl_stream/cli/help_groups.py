"""``crl --help``: the commands grouped by purpose, not by name."""

from __future__ import annotations

from typing import Any, Final

from typer.core import TyperGroup

from crl_stream.cli.command_table import CommandTable

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "Run": ("demo", "up", "down", "broker", "worker", "topics", "topology"),
    "Look": (
        "status",
        "dashboard",
        "tasks",
        "window",
        "runtimes",
        "rollbacks",
        "audit",
        "tail",
        "explain",
        "why-not",
        "doctor",
    ),
    "Act": (
        "activate",
        "undo",
        "confirm",
        "pin",
        "unpin",
        "hold",
        "resume",
        "quarantine",
        "register",
        "retire",
        "rollout",
        "accept",
        "proposals",
        "policy",
    ),
    "Data": ("publish", "replay", "calibrate", "drill", "sync", "export", "archive", "dead-letters"),
    "Settings": ("config", "notify"),
}
"""Every command, in the order in which it is shown; one that does not exist yet is skipped."""
WHOLE: Final = 400
"""Longest first sentence of a command, in characters; it is wrapped, not cut."""
OTHERS: Final = "More"
"""For a command that was forgotten above; a test checks that there is none."""


class GroupedCommands(TyperGroup):
    """The commands of ``crl`` under the headings of ``GROUPS``; a command is loaded when it is asked for."""

    def __init__(self, *, commands: Any = None, **attributes: Any) -> None:
        super().__init__(commands=CommandTable(commands or {}), **attributes)  # type: ignore[arg-type]

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the name is typer's
        """Their names, without a look at them."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section per heading that has commands."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        shown = {name: command for name, command in commands.items() if command is not None and not command.hidden}
        placed = {name for names in GROUPS.values() for name in names}
        rest = tuple(name for name in shown if name not in placed)
        for heading, names in (GROUPS | {OTHERS: rest}).items():
            rows = [(name, shown[name].get_short_help_str(WHOLE)) for name in names if name in shown]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows, col_max=max(map(len, shown)) + 2)
