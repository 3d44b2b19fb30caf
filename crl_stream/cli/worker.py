"""``crl worker``: one worker in the foreground."""

from __future__ import annotations

import typer


def worker(context: typer.Context) -> None:
    """Run a worker until Ctrl-C; start more of them, with other ports, to share the partitions."""
    from crl_stream.worker.run import run_worker

    raise typer.Exit(run_worker(context.obj.connected))
