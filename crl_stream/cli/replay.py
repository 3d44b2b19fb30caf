"""``crl replay``: the same engine over a file, without Kafka."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from crl_stream.cli.publish import read_messages
from crl_stream.cli.tail import line_of
from crl_stream.cli.talk import progress_bar, say, show, show_json
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.topic_reader import Received
from crl_stream.topology.driver import TopologyDriver
from crl_stream.wire.codec import Rejected, decode, encode
from crl_stream.wire.topics import DECISIONS, DEGRADATIONS, INVOCATIONS, ROLLBACKS

_SHOWN = (DEGRADATIONS, ROLLBACKS, DECISIONS)
_AT_ONCE = 500


def replay(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON lines, one message each; - is stdin.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
) -> None:
    """Fold a file as a worker would, under the settings in force, and print what it would decide.

    Writes nothing anywhere.  The time of the fold is the messages' own, since a file has no append time.
    """
    settings = context.obj.settings
    messages = list(read_messages(file))
    began: dict[str, Any] = {"start": _milliseconds(messages[0].timestamp)} if messages else {}
    driver = TopologyDriver(partitions=settings.kafka.partitions, **began)
    if settings.policies.canonical() != b"{}":
        driver.pipe(
            m.SetPolicy(
                schema_version=m.SCHEMA_VERSION,
                command_id="replay-policy",
                timestamp="2000-01-01T00:00:00Z",
                actor="crl replay",
                policy=settings.policies,
                policy_hash=settings.policies.digest(),
            )
        )
    progress = progress_bar()
    decisions = 0
    for start in range(0, len(messages), _AT_ONCE):
        progress("replaying", start, len(messages))
        for message in messages[start : start + _AT_ONCE]:
            key = TaskKey(message.agent_name, message.task_type).encode()
            driver.append(INVOCATIONS, encode(message), key, timestamp=_milliseconds(message.timestamp))
        for output in driver.pipe():
            if output.topic in _SHOWN:
                decisions += _show(output, json)
    progress("replaying", len(messages), len(messages))
    say(f"{len(messages)} messages, {decisions} decisions, alerts and rollbacks")


def _show(output: Any, json: bool) -> int:
    decoded = decode(output.topic, output.value, output.key)
    assert not isinstance(decoded, Rejected)
    if isinstance(decoded.message, m.CommandResult):
        return 0
    if json:
        show_json({"topic": output.topic, "message": decoded.message})
    else:
        show(line_of(Received(output.topic, output, decoded.message)))
    return 1


def _milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)
