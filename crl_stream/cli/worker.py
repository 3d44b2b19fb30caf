"""``crl worker``: run one worker in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from crl_stream.errors import UsageError
from crl_stream.stages.roles import ROLES

SERVICES = "services"
"""The name for all roles except the monitor."""


def worker(
    context: typer.Context,
    role: Annotated[
        list[str] | None,
        typer.Option(help=f"Roles to run: {', '.join(ROLES)}, or {SERVICES} for all except monitor; may be repeated."),
    ] = None,
) -> None:
    """Run a worker until Ctrl-C; start more of them on other ports to share the partitions."""
    from crl_stream.worker.run import run_worker

    roles = chosen_roles(role or ["monitor"])
    raise typer.Exit(run_worker(context.obj.connected, roles, verbose=context.obj.verbose))


def chosen_roles(words: list[str]) -> list[str]:
    """Parse role names; raises ``UsageError`` for an unknown one."""
    for word in words:
        if word not in {*ROLES, SERVICES}:
            raise UsageError(f"There is no role {word}.", hint=f"one of {', '.join(ROLES)}, {SERVICES}")
    wanted = {*words} | ({*ROLES} - {"monitor"} if SERVICES in words else set())
    return [role for role in ROLES if role in wanted]
