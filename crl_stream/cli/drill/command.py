"""The command ``crl drill``."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Annotated, Any

import typer

from crl_stream.cli.application import TERMINATED
from crl_stream.cli.drill.drilling import Drilled, Options, drill
from crl_stream.cli.drill.report import Report, Step, closing_line, heading, step_line, worst
from crl_stream.cli.status import look
from crl_stream.cli.talk import say, show, show_json
from crl_stream.core.instant import to_text
from crl_stream.dashboard.findings import finding_line
from crl_stream.errors import CrlError, DrillFailed, DrillRunning, UsageError


def drill_protection(
    context: typer.Context,
    partition: Annotated[
        int | None,
        typer.Option(min=0, help="Test this partition. Default: the one that was tested least recently."),
    ] = None,
    everywhere: Annotated[bool, typer.Option("--all-partitions", help="Test every partition.")] = False,
    notify: Annotated[
        bool,
        typer.Option("--notify", help="Let notifiers send the drill's alerts, marked as a drill. Default: send none."),
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1.0, max=3_600.0, help="Seconds that the drill of a partition may take.")
    ] = 60.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing unless the drill fails.")] = False,
    actor: Annotated[str | None, typer.Option("--actor", help="Your name in the record. Default: your login.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Let a variant fail on a reserved task, and check that it is rolled back from end to end.

    Everything but the failure is real: client, log, monitor, alert, rollback, active variant, receipt. Drills are not
    counted in the fleet's figures, and send no alerts to people without --notify. Exit code 6 if a step is missing or
    rollbacks are switched off, 75 if another drill is running.
    """
    if everywhere and partition is not None:
        raise UsageError("--partition and --all-partitions cannot be combined.", hint="give one of them")

    began = set[str]()

    def tell(report: Report, step: Step) -> None:
        if quiet or json:
            return
        if not began:
            show(heading(report, context.obj.connected.kafka.partitions if everywhere else 1))
            began.add("heading")
        show(step_line(report, step, several=everywhere))

    options = Options(partition, everywhere, notify, timeout, actor)
    try:
        done = asyncio.run(_ended_by_sigterm(drill(context.obj.connected, options, tell)))
    except asyncio.CancelledError:
        raise SystemExit(TERMINATED) from None
    found = worst(done.reports)
    # `crl status` explains most failures but takes a while, so it runs only after a failure.
    lines = _status_lines(context.obj) if found == "failed" else []
    if json:
        show_json(document(done, lines))
    elif found == "passed" and not quiet:
        show(closing_line(done.reports))
    if found == "passed":
        return
    for line in lines:
        say(f"crl status: {line}")
    raise problem(done.reports)


async def _ended_by_sigterm(work: Coroutine[Any, Any, Drilled]) -> Drilled:
    """Cancel the drill on SIGTERM as on Ctrl-C, so that it can still record that it was interrupted."""
    task = asyncio.current_task()
    assert task is not None
    with suppress(NotImplementedError):  # asyncio has no signal handlers on Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work


def document(done: Drilled, lines: list[str]) -> dict[str, Any]:
    """Return the drill as a JSON object; ``lines`` are what `crl status` finds wrong after a failure."""
    return {
        "result": worst(done.reports),
        "timestamp": to_text(min(report.began for report in done.reports)),
        "actor": done.actor,
        "policy_hash": done.policies.digest(),
        "mode": done.policies.default.operations.mode,
        "partitions": [report.as_json() for report in done.reports],
        "status": lines,
    }


def problem(reports: list[Report]) -> CrlError:
    """Return the error that a drill ends with, if not every report is ``passed``."""
    found = worst(reports)
    bad = [report for report in reports if report.result == found]
    first = bad[0]
    named = ", ".join(str(report.partition) for report in bad)
    where = f"partition {named}" if len(bad) == 1 else f"{len(bad)} of {len(reports)} partitions ({named})"
    same = all(report.detail == first.detail for report in bad)
    why = first.detail if same else "; ".join(f"{report.partition}: {report.detail}" for report in bad)
    if found == "busy":
        return DrillRunning(f"No drill on {where}: {why}.", hint=first.hint)
    if found == "blocked":
        return DrillFailed(
            f"The alerts of {where} arrived, but rollbacks are switched off there: {why}.", hint=first.hint
        )
    step = first.missing if same else "several steps"
    return DrillFailed(f"The drill failed on {where} at {step}: {why}.", hint=first.hint)


def _status_lines(session: Any) -> list[str]:
    findings = look(session).findings
    return [finding_line(one) for one in findings if one["trouble"] and one["name"] != "drill"]
