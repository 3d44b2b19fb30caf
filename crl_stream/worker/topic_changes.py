"""The errors about topics that changed while a worker was running, with hints about what to do."""

from __future__ import annotations

from typing import NamedTuple

from crl_stream.errors import ContractError, Unsafe


class TopicChanges(NamedTuple):
    """Makes the errors that end a worker; each names the topic and says what to do."""

    address: str
    log: str
    """The full name of the log's topic."""
    commands: str
    compacted: frozenset[str] = frozenset()
    """The compacted topics, which keep the last record of each key."""

    def gone(self, name: str, cluster: str, now: str) -> ContractError:
        """Make the error for a topic that is gone; ``cluster`` and ``now`` are the cluster's old and current ids."""
        if now and cluster and now != cluster:
            return ContractError(
                f"Kafka at {self.address} is a different cluster than at the start: {now}, it was {cluster}; {name} "
                "does not exist on it.",
                hint="has the cluster lost its data, or is the address wrong? `crl topics apply` creates the topics",
            )
        return ContractError(
            f"The topic {name} was deleted.",
            hint=f"run `crl topics apply`, which recreates it; then {self._after_loss(name)}",
        )

    def made_again(self, name: str) -> Unsafe:
        """Make the error for a topic that has a different id."""
        return Unsafe(
            f"The topic {name} was deleted and recreated: this worker's state belongs to the old one.",
            hint=f"after a restart, the worker reads the new topic; {self._after_loss(name)}",
        )

    def grown(self, name: str, was: int, partitions: int) -> ContractError:
        """Make the error for a topic that has more partitions than before."""
        if name == self.log:
            return ContractError(
                f"{name} has {partitions} partitions; it had {was}: runtimes now send tasks to other partitions.",
                hint="a task must stay with its history, so a log cannot grow: create a new one. Stop the runtimes, "
                "let the workers read to the end, choose another kafka.topic_prefix with kafka.partitions = "
                f"{partitions}, run `crl topics apply`, then start the workers and runtimes with these settings",
            )
        return ContractError(
            f"{name} has {partitions} partitions; it had {was}.",
            hint=f"it needs the same number as {self.log}: delete it and run `crl topics apply`, which recreates it",
        )

    def _after_loss(self, name: str) -> str:
        """Return what to do about the records that were lost with a topic."""
        if name in {self.log, self.commands}:
            return "stop every worker, and run `crl topics adopt`, so that the state continues on the new topic"
        if name.endswith("-changelog"):
            return "the rows are refolded from the log; if the log has lost its beginning, run `crl topics adopt`"
        if name in self.compacted:
            return "its worker refills it from the rows when it starts"
        return "new records will be written to it, but the old ones are lost"
