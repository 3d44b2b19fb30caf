"""``crl replay``: the same engine over a file, without Kafka."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from pathlib import Path
from typing import Annotated, Any

import typer

from crl_stream.cli.publish import read_messages
from crl_stream.cli.tail import line_of, time_of
from crl_stream.cli.talk import progress_bar, say, show, show_json
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text
from crl_stream.settings import load_remedies
from crl_stream.topic_reader import Received
from crl_stream.topology.driver import TopologyDriver
from crl_stream.wire.codec import Rejected, decode, encode
from crl_stream.wire.records import Output
from crl_stream.wire.topics import DECISIONS, DEGRADATIONS, INVOCATIONS, PROPOSALS, ROLLBACKS

_SHOWN = (DEGRADATIONS, ROLLBACKS, DECISIONS)
_AT_ONCE = 500


def replay(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON lines, one message each; - is stdin.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
) -> None:
    """Fold a file as a worker would, under the settings in force, and print what it would decide and propose.

    Writes nothing anywhere.  The time of the fold is the messages' own, since a file has no append time.
    """
    settings = context.obj.settings
    messages = list(read_messages(file))
    began: dict[str, Any] = {"start": _milliseconds(messages[0].timestamp)} if messages else {}
    remedies = load_remedies(settings.proposer.modifications)
    driver = TopologyDriver(partitions=settings.kafka.partitions, remedies=remedies, **began)
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
    shown = [0, 0]
    for start in range(0, len(messages), _AT_ONCE):
        progress("replaying", start, len(messages))
        for message in messages[start : start + _AT_ONCE]:
            key = TaskKey(message.agent_name, message.task_type).encode()
            driver.append(INVOCATIONS, encode(message), key, timestamp=_milliseconds(message.timestamp))
        for received in _in_their_order(driver.pipe()):
            _show(received, json)
            shown[received.topic == PROPOSALS] += 1
    progress("replaying", len(messages), len(messages))
    decisions, proposals = shown
    say(f"{len(messages)} messages, {decisions} decisions, alerts and rollbacks, {proposals} new or changed proposals")


def _in_their_order(outputs: Iterable[Output]) -> Iterator[Received]:
    """What is shown of the monitor's and the proposer's outputs, which come one after the other, by its time."""
    found: tuple[list[Received], list[Received]] = ([], [])
    for output in outputs:
        if output.topic in _SHOWN or output.topic == PROPOSALS:
            decoded = decode(output.topic, output.value, output.key)
            assert not isinstance(decoded, Rejected)
            if not isinstance(decoded.message, m.CommandResult):
                found[output.topic == PROPOSALS].append(Received(output.topic, output, decoded.message))
    return merge(*found, key=lambda received: time_of(received.message))


def _show(received: Received, json: bool) -> None:
    if json:
        show_json({"topic": received.topic, "message": received.message})
    else:
        show(line_of(received))


def _milliseconds(text: str) -> int:
    return from_text(text)
