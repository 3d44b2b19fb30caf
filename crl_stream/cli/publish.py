"""``crl publish``: one outcome, or a file of them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from crl_stream.cli.outcome_file import OutcomeFile
from crl_stream.cli.session import task_key
from crl_stream.cli.talk import progress_bar, say, show_json
from crl_stream.client.publisher import QUEUE_SIZE, Publisher, checked, utc_now
from crl_stream.core import messages as m
from crl_stream.errors import Unavailable, UsageError


def publish(
    context: typer.Context,
    task: Annotated[str | None, typer.Argument(metavar="[AGENT/TASK]", help="The task of a single outcome.")] = None,
    variant: Annotated[str | None, typer.Option("--variant", "-v", help="The variant that was used.")] = None,
    status: Annotated[str, typer.Option(help="success, failure or error.")] = "success",
    reward: Annotated[float | None, typer.Option(help="In [-1, 1]; computed when absent.")] = None,
    quality: Annotated[float | None, typer.Option(help="In [0, 1].")] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds.")] = None,
    errors: Annotated[int, typer.Option(help="Errors on the way.")] = 0,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Publish so many like this.")] = 1,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="JSON lines, one message each; - is stdin.")] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds to wait while Kafka takes nothing.")
    ] = 60.0,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Publish one outcome, or every message of a file, and wait until Kafka has them."""
    if (file is None) == (task is None):
        raise UsageError("Publish one outcome or a file.", hint="crl publish AGENT/TASK -v VARIANT, or --file FILE")
    if file is not None:
        messages = [one.message for one in OutcomeFile(file, "crl publish -f -").outcomes()]
    else:
        if variant is None:
            raise UsageError("Which variant was used?", hint="add --variant VARIANT")
        key = task_key(task or "")
        messages = [
            m.Invocation(
                schema_version=m.SCHEMA_VERSION,
                invocation_id=f"cli-{time.time_ns()}-{number}",
                timestamp=utc_now(),
                agent_name=key.agent_name,
                task_type=key.task_type,
                variant_id=variant,
                status=status,  # type: ignore[arg-type]
                reward=reward,
                quality=quality,
                duration_seconds=duration,
                error_count=errors,
            )
            for number in range(count)
        ]
        checked(messages[0])
    with Publisher(context.obj.connected) as publisher:
        stats = publisher.close(timeout if _send(publisher, messages, timeout) else 0.0)
    if json:
        show_json(stats._asdict())
    if stats.sent < len(messages):
        where = publisher.settings.kafka.bootstrap_servers
        why = f": {publisher.trouble.rstrip('.')}" if publisher.trouble else ""
        raise Unavailable(
            f"Kafka at {where} took {stats.sent} of {len(messages)} messages{why}.",
            hint="is it running, with its topics (crl topics diff)? publishing again is safe: what arrived is "
            "recognised by its invocation_id",
        )
    say(f"{stats.sent} published")


def _send(publisher: Publisher, messages: list[Any], timeout: float) -> bool:
    """Queue all messages, as fast as Kafka takes them; False when it has taken nothing for ``timeout`` seconds."""
    progress = progress_bar()
    progress("publishing", 0, len(messages))
    for number, message in enumerate(messages, start=1):
        sent, since = publisher.stats.sent, time.monotonic()
        while publisher.stats.queued >= QUEUE_SIZE // 2:
            publisher.flush(min(1.0, timeout))
            if publisher.stats.sent != sent:
                sent, since = publisher.stats.sent, time.monotonic()
            elif time.monotonic() - since >= timeout:
                return False
        publisher.publish(message)
        if number % 100 == 0 or number == len(messages):
            progress("publishing", number, len(messages))
    return True
