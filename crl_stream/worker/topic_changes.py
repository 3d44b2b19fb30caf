"""The errors about topics that changed while a worker was running, with what to do about them."""

from __future__ import annotations

from typing import NamedTuple

from crl_stream.errors import ContractError, Unsafe


class TopicChanges(NamedTuple):
    """Makes the errors that end a worker; each names the topic and what to do."""

    address: str
    log: str
    """The full name of the log's topic."""
    commands: str
    compacted: frozenset[str] = frozenset()
    """The compacted topics, which keep the last record of each key."""

    def gone(self, name: str, cluster: str, now: str) -> ContractError:
        """A topic no longer exists; ``cluster`` and ``now`` are the cluster's ids at the start and now."""
        if now and cluster and now != cluster:
            return ContractError(
                f"Kafka at {self.address} is another cluster than at the start: {now}, it was {cluster}; {name} does "
                "not exist on it.",
                hint="did it lose its data, or does the address lead elsewhere? `crl topics apply` makes the topics",
            )
        return ContractError(
            f"The topic {name} was deleted.",
            hint=f"run `crl topics apply`, which makes it again; then {self._after_loss(name)}",
        )

    def made_again(self, name: str) -> Unsafe:
        """A topic has a different id."""
        return Unsafe(
            f"The topic {name} was deleted and made again: what this worker knows is about the old one.",
            hint=f"a restart reads the new one; {self._after_loss(name)}",
        )

    def grown(self, name: str, was: int, partitions: int) -> ContractError:
        """A topic has more partitions than before."""
        if name == self.log:
            return ContractError(
                f"{name} has {partitions} partitions, it had {was}: runtimes now send tasks to other partitions.",
                hint="a task must stay with its history, so a log cannot grow: make a new one. Stop the runtimes, let "
                "the workers read to the end, choose another kafka.topic_prefix with kafka.partitions = "
                f"{partitions}, run `crl topics apply`, start workers and runtimes with it",
            )
        return ContractError(
            f"{name} has {partitions} partitions, it had {was}.",
            hint=f"it has to have as many as {self.log}: delete it and run `crl topics apply`, which makes it again",
        )

    def _after_loss(self, name: str) -> str:
        """What to do about the records that were lost with a topic."""
        if name in {self.log, self.commands}:
            return "`crl topics adopt` lets the state go on with it; stop every worker first"
        if name.endswith("-changelog"):
            return "the rows are folded again from the log; `crl topics adopt` where the log has lost its beginning"
        if name in self.compacted:
            return "its worker fills it again from the rows when it starts"
        return "what was on it is lost, and what comes from now on is written"
