"""Messages of the log ``crl.invocations``: outcomes, late scores, references to commands, ticks.

An ``Invocation`` has no ``type`` field, because runtimes in any language write it; all other messages have one.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from crl_stream.core.messages.parts import (
    Amount,
    Count,
    ForeignText,
    Identifier,
    Instant,
    Metrics,
    Name,
    Ordinal,
    Reward,
    SchemaVersion,
    ShortText,
    Unit,
)

Status = Literal["success", "failure", "error"]
Complexity = Literal["low", "medium", "high"]
VariantSource = Literal["live", "stale", "file", "default", "explore", "session"]
Role = Literal["live", "shadow"]


class Invocation(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One finished invocation of one variant of an agent."""

    schema_version: SchemaVersion
    invocation_id: Name
    """Id of the invocation, unique per task; a repeated id is recognised as a duplicate."""
    timestamp: Instant
    """When the invocation finished, by the runtime's clock; shown to people, but never used for decisions."""
    agent_name: Name
    task_type: Name
    variant_id: Name
    status: Status
    reward: Reward | None = None
    """The reward that the runtime reports; if absent, the engine computes it from the other fields."""
    quality: Unit | None = None
    error_count: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    duration_seconds: Annotated[float, msgspec.Meta(ge=0.0, le=1e9)] | None = None
    complexity: Complexity | None = None
    """Selects the duration baseline; if absent, ``medium`` is assumed."""
    active_epoch: Ordinal | None = None
    """Epoch of the active-variant record that the runtime had read."""
    variant_source: VariantSource | None = None
    """Where the runtime got the variant from; ``explore`` never makes a variant the first active one.

    ``session``: the session began with this variant and keeps it, because of the active variant's ``on_change``."""
    runtime_id: Name | None = None
    role: Role | None = None
    """Role of the outcome: ``shadow`` outcomes are counted separately and never change the live figures."""
    provider: ShortText | None = None
    model: ShortText | None = None
    session_id: ForeignText | None = None
    """The conversation or job that the invocation is part of. It determines the variant while there are weights."""
    cost: Amount | None = None
    """What the invocation cost, in one currency per task."""
    tokens_input: Count | None = None
    tokens_output: Count | None = None
    trace_id: ForeignText | None = None
    """Id of the invocation's trace in the system that records traces."""
    metrics: Metrics | None = None
    """Up to four further numbers to watch, by name."""
    evaluator: ForeignText | None = None
    """The judge of reward and quality, as ``name@version``; scores of different judges are brought to one scale."""


class Feedback(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type", tag="feedback"):
    """A reward or quality that became known after its invocation was published."""

    schema_version: SchemaVersion
    feedback_id: Name
    timestamp: Instant
    agent_name: Name
    task_type: Name
    invocation_id: Name
    reward: Reward | None = None
    quality: Unit | None = None
    source: ShortText | None = None
    """Who gave the score: a person or a model."""
    evaluator: ForeignText | None = None
    """The judge that gave the score, as ``name@version``."""


class CommandRef(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type", tag="command_ref"):
    """A reference to one record of ``crl.commands``; only the inlet writes it.

    Commands enter the log by reference. They keep their own ACL and cannot be forged in the log: the worker reads the
    record and compares the hash.
    """

    schema_version: SchemaVersion
    command_id: Identifier
    partition: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    offset: Ordinal
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$", max_length=64)]
    """Hash of the command record's value."""
    agent_name: Identifier | None = None
    """Absent, like task_type, if the command is for every task (``SetPolicy``, ``HoldAll``, ``ResumeAll``)."""
    task_type: Identifier | None = None


class Tick(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type", tag="tick"):
    """A record that tells the engine that time has passed; its append time is the current time.

    Only the worker that owns the partition writes ticks, under the key ``!tick``, and only while rows of the partition
    are due at a certain time. It writes one tick a second at most, unless ``up_to_ms`` spreads the due rows over
    several ticks. A tick changes only the time, so a repeated or forged tick is harmless.
    """

    schema_version: SchemaVersion
    up_to_ms: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Rows that are due after this time are left for the next tick; if absent, every due row is processed.

    This limits the work of one tick when a great many rows are due at once."""
