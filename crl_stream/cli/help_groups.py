"""``crl --help``: the commands grouped by purpose, not sorted by name."""

from __future__ import annotations

from typing import Any, Final

from typer.core import TyperGroup

from crl_stream.cli.command_table import CommandTable

# The names only sort the help: a name without a command is never shown, completed or suggested.
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
        "propose",
        "proposals",
        "policy",
    ),
    "Data": ("publish", "replay", "calibrate", "drill", "sync", "export", "archive", "dead-letters"),
    "Settings": ("config", "notify"),
}
"""The headings of the help, and the order of the commands under each."""
WHOLE: Final = 400
"""Maximum length of the first sentence of a command's help, in characters; it is wrapped, not cut."""
OTHERS: Final = "More"
"""Heading for commands missing from ``GROUPS``; a test checks that there are none."""


class GroupedCommands(TyperGroup):
    """The commands of ``crl`` under the headings of ``GROUPS``; a command is loaded when it is needed."""

    def __init__(self, *, commands: Any = None, **attributes: Any) -> None:
        super().__init__(commands=CommandTable(commands or {}), **attributes)  # type: ignore[arg-type]

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the name is typer's
        """Return the names of the commands without loading them."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the help: one section per heading that has commands."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        shown = {name: command for name, command in commands.items() if command is not None and not command.hidden}
        placed = {name for names in GROUPS.values() for name in names}
        rest = tuple(name for name in shown if name not in placed)
        for heading, names in (GROUPS | {OTHERS: rest}).items():
            rows = [(name, shown[name].get_short_help_str(WHOLE)) for name in names if name in shown]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows, col_max=max(map(len, shown)) + 2)
