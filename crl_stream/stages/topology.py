"""Source -> stage -> table -> sinks: the pipeline as data.

``STAGES`` lists the steps of the pipeline: which topics each one reads, how it is partitioned, what it keeps and what
it writes.  ``PARTIES`` lists the readers and writers outside the pipeline.  The worker wires its agents and tables from
here; the driver and the oracles of the tests follow it; ``topics/catalog.toml`` is checked against it; and
``crl topology`` prints it.  No other module defines which stage reads or writes a topic.

A stage works partition by partition: partition N of its sources is folded into partition N of its table, and the
outputs go to partition N of its sinks.  So these topics need the same number of partitions.  ``Goes`` lists the
exceptions.
"""

# Over 300 lines because the whole pipeline is one value.

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from crl_stream.core import messages as m
from crl_stream.core import overview, shared_tags
from crl_stream.core.monitor import row as monitor_row
from crl_stream.core.proposer import row as proposer_row
from crl_stream.stages.roles import Role
from crl_stream.wire.topics import (
    ACTIVE_VARIANTS,
    ALERTS,
    BRIDGE_INBOX,
    COMMANDS,
    DEAD_LETTERS,
    DECISIONS,
    DEGRADATIONS,
    INVOCATIONS,
    MESSAGES,
    MIRRORS,
    OVERVIEW,
    OVERVIEW_EVENTS,
    PROPOSALS,
    RECEIPTS,
    ROLLBACKS,
    TAG_CONDITIONS,
    TASKS,
    VARIANTS,
)

RowPosition = Callable[[bytes], tuple[int, int]]
"""Returns the position of the last record that changed a row; a row with a higher position is newer."""
FIRST: Final = 0
"""The partition of topics that have only one, and of alerts that are not about a task."""


class Goes(enum.Enum):
    """The sink partition that a stage writes a record to.

    ``HOME`` is the partition of the record's key; a record about all tasks goes to every partition.
    """

    ALONG = "the partition it was read from"
    HOME = "the task's partition, or all partitions"
    FIRST = "partition 0"


@dataclass(frozen=True, slots=True)
class Sink:
    """A topic that a stage or party writes to."""

    topic: str
    carries: tuple[type, ...]
    """The types of messages written there; empty for dead letters and their marks."""
    goes: Goes = Goes.ALONG
    standing: bool = False
    """Whether the stage is the only writer of a compacted topic; the last record of a key must then be the newest."""


@dataclass(frozen=True, slots=True)
class Table:
    """The state that a stage keeps: rows as bytes, in a changelog that no other stage writes."""

    name: str
    """Name of the table; its changelog is ``{app_id}-{name}-changelog``."""
    key: str
    """What each row is about.  In addition, partition row ``!partition/N`` records how far partition N is folded."""
    position: RowPosition


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the pipeline, with the topics it reads and writes."""

    name: str
    what: str
    role: Role
    sources: tuple[str, ...]
    """The topics that the stage consumes, each with its own agent."""
    sinks: tuple[Sink, ...] = ()
    table: Table | None = None
    looks_up: tuple[str, ...] = ()
    """Topics in which the stage looks up single records that its source records refer to."""
    beyond: str = ""
    """Destinations outside Kafka that the stage sends to; empty if there are none."""
    foreign: str = ""
    """Sources of other programs that the settings name, topics or addresses; empty if there are none."""
    fans_in: bool = False
    """Whether the stage processes all of its sources in the same way."""
    only_partition: bool = False
    """Whether the stage's source has only one partition, however many the log has."""
    channel: str = ""
    """The channel of a stage that exists once per channel; empty for other stages."""
    listed_as: str = ""
    """The stage's name in ``topics/catalog.toml``, if it differs from ``name``."""

    @property
    def source(self) -> str:
        """The one topic that the stage consumes; raises ``ValueError`` if there are several."""
        (topic,) = self.sources
        return topic

    @property
    def writes(self) -> tuple[str, ...]:
        """The topics that the stage writes, each once."""
        return tuple(dict.fromkeys(sink.topic for sink in self.sinks))

    @property
    def standing(self) -> tuple[str, ...]:
        """The compacted topics that only this stage writes."""
        return tuple(sink.topic for sink in self.sinks if sink.standing)

    def partitions(self, log: int) -> int:
        """Return how many partitions the stage has if the log has ``log`` partitions."""
        return 1 if self.only_partition else log

    def agents(self) -> Iterator[tuple[str, str]]:
        """Yield the name and topic of each of the stage's agents."""
        name = f"{self.name}.{self.channel}" if self.channel else self.name
        for topic in self.sources:
            yield f"{name}.{topic.removeprefix('crl.')}" if self.fans_in else name, topic


@dataclass(frozen=True, slots=True)
class Party:
    """A reader or writer that is not a stage, by its name in ``topics/catalog.toml``."""

    name: str
    what: str
    reads: tuple[str, ...] = ()
    sinks: tuple[Sink, ...] = ()


_LETTERS: Final = Sink(DEAD_LETTERS, ())


INLET: Final = Stage(
    name="inlet",
    what="writes a reference to each command into the log, so that the log alone decides",
    role="monitor",
    sources=(COMMANDS,),
    sinks=(Sink(INVOCATIONS, (m.CommandRef,), Goes.HOME), _LETTERS),
)
MONITOR: Final = Stage(
    name="monitor",
    what="folds the log: windows, verdicts, rollbacks, promotions, results of commands",
    role="monitor",
    sources=(INVOCATIONS,),
    looks_up=(COMMANDS,),
    table=Table("tasks", "agent_name/task_type", monitor_row.row_position),
    sinks=(
        Sink(INVOCATIONS, (m.Tick,)),
        Sink(INVOCATIONS, (m.Invocation, m.Feedback), Goes.HOME),
        Sink(DEGRADATIONS, (m.DegradationAlert,)),
        Sink(ROLLBACKS, (m.RollbackEvent,)),
        Sink(DECISIONS, (m.Decision, m.Activation, m.RolloutStep, m.Hindsight, m.Benefit, m.Adoption, m.CommandResult)),
        Sink(ALERTS, (m.Alert,)),
        Sink(ACTIVE_VARIANTS, (m.ActiveVariant,), standing=True),
        Sink(VARIANTS, (m.VariantCatalogue,), standing=True),
        Sink(TASKS, (m.TaskSnapshot,), standing=True),
        Sink(RECEIPTS, (m.Receipt,)),
        Sink(TAG_CONDITIONS, (m.TagCondition,), Goes.FIRST),
        _LETTERS,
    ),
)
PROPOSER: Final = Stage(
    name="proposer",
    what="turns snapshots of tasks into proposals for people",
    role="proposer",
    sources=(TASKS,),
    table=Table("proposals", "agent_name/task_type", proposer_row.row_position),
    sinks=(Sink(PROPOSALS, (m.Proposal,), standing=True), Sink(ALERTS, (m.Alert,)), _LETTERS),
)
TALLY: Final = Stage(
    name="tally",
    what="collects notes about all tasks in one partition, for the overview",
    role="overview",
    listed_as="overview",
    sources=(ROLLBACKS, ALERTS, PROPOSALS, TASKS),
    fans_in=True,
    sinks=(Sink(OVERVIEW_EVENTS, (m.RollbackNote, m.AlertNote, m.ProposalNote, m.TaskNote), Goes.FIRST), _LETTERS),
)
OVERVIEW_PAGE: Final = Stage(
    name="overview",
    what="folds the notes into one page of the system, and watches the rate of rollbacks",
    role="overview",
    sources=(OVERVIEW_EVENTS,),
    only_partition=True,
    table=Table("overview", "agent_name/task_type, agents, totals", overview.row_position),
    sinks=(
        Sink(OVERVIEW, (m.Overview,), standing=True),
        Sink(ALERTS, (m.Alert,), Goes.FIRST),
        _LETTERS,
    ),
)
TAGS: Final = Stage(
    name="tags",
    what="counts the tasks that fall with a provider or model, and reports to all tasks that it is failing",
    role="tags",
    sources=(TAG_CONDITIONS,),
    only_partition=True,
    table=Table("tags", "provider:... or model:...", shared_tags.row_position),
    sinks=(Sink(COMMANDS, (m.ReportTag,), Goes.HOME), _LETTERS),
)
FILES: Final = Stage(
    name="files",
    what="appends rollbacks and proposals to the guide's files",
    role="files",
    sources=(ROLLBACKS, PROPOSALS),
    fans_in=True,
    beyond="telemetry/crl/",
)
NOTIFIER: Final = Stage(
    name="notifier",
    what="alerts people; each channel has its own consumer group",
    role="notifier",
    sources=(ALERTS, ROLLBACKS, DEGRADATIONS),
    fans_in=True,
    beyond="log, files, webhooks, chat, mail, pagers",
)
BRIDGE: Final = Stage(
    name="bridge",
    what="turns what other systems say about agents into outcomes and scores; each bridge has its own consumer group",
    role="bridge",
    sources=(BRIDGE_INBOX,),
    only_partition=True,
    foreign="OpenTelemetry, CloudEvents, Langfuse, LangSmith",
    sinks=(
        Sink(INVOCATIONS, (m.Invocation, m.Feedback), Goes.HOME),
        Sink(BRIDGE_INBOX, (), Goes.FIRST),
        _LETTERS,
    ),
)
MIRROR: Final = Stage(
    name="mirror",
    what="moves the labels of prompt stores after the active variants, and turns people's moves into commands",
    role="mirror",
    sources=(MIRRORS,),
    looks_up=(ACTIVE_VARIANTS, VARIANTS, DECISIONS),
    only_partition=True,
    sinks=(
        Sink(MIRRORS, (m.MirrorLabel, m.MirrorStore), standing=True),
        Sink(RECEIPTS, (m.Receipt,), Goes.HOME),
        Sink(ALERTS, (m.Alert,), Goes.HOME),
        Sink(COMMANDS, (m.ActivateVariant,), Goes.HOME),
        _LETTERS,
    ),
    beyond="labels in Langfuse, aliases in MLflow",
)
STAGES: Final = (INLET, MONITOR, PROPOSER, TALLY, OVERVIEW_PAGE, TAGS, FILES, NOTIFIER, BRIDGE, MIRROR)
"""All stages, in the order in which a record passes through them."""

PARTIES: Final = (
    Party(
        "runtime",
        "an agent runtime: publishes outcomes, follows the active variant",
        reads=(ACTIVE_VARIANTS, VARIANTS),
        sinks=(Sink(INVOCATIONS, (m.Invocation, m.Feedback), Goes.HOME),),
    ),
    Party(
        "operator",
        "a person at the command line or a program acting for one",
        reads=(DECISIONS, PROPOSALS, OVERVIEW, DEAD_LETTERS),
        sinks=(
            Sink(
                COMMANDS,
                tuple(kind for kind in MESSAGES[COMMANDS] if kind not in {m.SetPolicy, m.ReportTag}),
                Goes.HOME,
            ),
            _LETTERS,
        ),
    ),
    Party(
        "worker",
        "a worker that starts on a log without a policy, and `crl policy apply`",
        sinks=(Sink(COMMANDS, (m.SetPolicy,), Goes.HOME),),
    ),
    Party(
        "subscriber",
        "anyone who asks",
        reads=(DEGRADATIONS, ROLLBACKS, DECISIONS, ALERTS, RECEIPTS, OVERVIEW),
    ),
    Party(
        "dashboard",
        "pages for people, on a terminal or in a browser",
        reads=(
            *(DEGRADATIONS, ROLLBACKS, DECISIONS, ALERTS, ACTIVE_VARIANTS, VARIANTS, TASKS, PROPOSALS),
            *(RECEIPTS, OVERVIEW, MIRRORS),
        ),
    ),
)


def writers(topic: str) -> list[str]:
    """Return the writers of ``topic``, by their names in the catalog."""
    found = [stage.listed_as or stage.name for stage in STAGES if topic in stage.writes]
    found += [party.name for party in PARTIES if any(sink.topic == topic for sink in party.sinks)]
    return list(dict.fromkeys(found))


def readers(topic: str) -> list[str]:
    """Return the readers of ``topic``, by their names in the catalog."""
    found = [stage.listed_as or stage.name for stage in STAGES if topic in (*stage.sources, *stage.looks_up)]
    found += [party.name for party in PARTIES if topic in party.reads]
    return list(dict.fromkeys(found))


def sources_of(role: Role) -> tuple[str, ...]:
    """Return the topics that the consumer group of a role reads."""
    return tuple(topic for stage in STAGES if stage.role == role for topic in stage.sources)


def is_standing(topic: str) -> bool:
    """Return whether the topic is compacted, so that records read earlier may be gone."""
    return any(topic in stage.standing for stage in STAGES)


def outputs_of(*stages: Stage) -> tuple[str, ...]:
    """Return the final outputs of ``stages``: the topics that they write but none of them reads.

    The topics are in the order of the catalog.
    """
    read = {topic for stage in stages for topic in (*stage.sources, *stage.looks_up)}
    written = {topic for stage in stages for topic in stage.writes}
    return tuple(topic for topic in MESSAGES if topic in written - read)
