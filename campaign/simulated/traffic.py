"""The messages of one seed: outcomes and repetitions, late scores, commands, reviews, policies, malformed bytes."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any, Final

from msgspec.structs import replace

from campaign.simulated.broker import Broker
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import to_text
from crl_stream.core.policy import (
    AutoApply,
    Degradation,
    HumanApproval,
    Limits,
    Operations,
    Policy,
    PolicySet,
    Proposals,
    Rollback,
)
from crl_stream.core.proposer.step import approval_of
from crl_stream.wire.codec import decode, encode
from crl_stream.wire.dead_letter import ORIGIN_OFFSET, ORIGIN_PARTITION
from crl_stream.wire.topics import COMMANDS, FLEET_KEY, INVOCATIONS, POLICY_KEY, PROPOSALS, ROLLBACKS

VARIANTS: Final = ("default", "v2", "v3", "v4")
MAX_OUTCOMES: Final = 60
"""Maximum number of ids per task; a task remembers that many, so counting need not model its ring of ids."""
_ORDERS: Final = (
    m.ActivateVariant,
    m.LiftQuarantine,
    m.RetireVariant,
    m.RegisterVariant,
    m.ProposeVariant,
    m.PinVariant,
    m.HoldTask,
    m.ResumeTask,
    m.UnpinVariant,
    m.UndoRollback,
    m.ConfirmRollback,
)
_BAD: Final = (b"{", b"\xff\xfe", b"", b"[]", b'{"type":"Invocation"}', b'{"reward":NaN}', None)


class Traffic:
    """The messages of one seed; each depends on the outputs of the earlier ones."""

    def __init__(self, broker: Broker, rng: random.Random) -> None:
        self.broker, self.rng = broker, rng
        self.left = rng.randint(30, 120)
        self.tasks = [TaskKey(f"agent-{n % 3}", f"task-{n}") for n in range(rng.randint(1, 5))]
        self.outcomes: dict[bytes, list[m.Invocation]] = defaultdict(list)
        """Outcomes by task, each listed once."""
        self.commands: dict[str, m.AnyTaskCommand] = {}
        """Commands for tasks by id, each listed once."""
        self.misplaced = 0
        self._numbers = 0
        self._weak = {key: rng.sample(VARIANTS, rng.randint(0, 2)) for key in self.tasks}
        if rng.random() < 0.85:
            self._set_policy()

    def send(self) -> None:
        """Send the next message."""
        self.left -= 1
        rng = self.rng
        task = rng.choice(self.tasks)
        roll = rng.random()
        if roll < 0.68:
            self._outcome(task)
        elif roll < 0.74:
            self._repeat(task)
        elif roll < 0.80:
            self._feedback(task)
        elif roll < 0.92:
            self._order(task)
        elif roll < 0.94:
            self._set_policy()
        elif roll < 0.945:
            self._order_fleet()
        elif roll < 0.96:
            self._weak[task] = rng.sample(VARIANTS, rng.randint(0, 2))
        else:
            self._rubbish(task)

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _put(self, key: TaskKey, value: bytes) -> None:
        partition: int | None = None
        headers: tuple[tuple[str, bytes], ...] = ()
        if (roll := self.rng.random()) < 0.05:
            partition = self.rng.randrange(self.broker.partitions)
            self.misplaced += 1
        elif roll < 0.07:
            headers = self._made_up_origin()
        self.broker.append(INVOCATIONS, key.encode(), value, partition=partition, headers=headers)

    def _made_up_origin(self) -> tuple[tuple[str, bytes], ...]:
        """Forge the headers of a forwarded record, with the position of another record as its origin."""
        source, offset = self.rng.randrange(self.broker.partitions), self.rng.choice((self.rng.randrange(200), 10**17))
        return (ORIGIN_PARTITION, b"%d" % source), (ORIGIN_OFFSET, b"%d" % offset)

    # -- outcomes and scores -----------------------------------------------------------------------
    def _outcome(self, task: TaskKey) -> None:
        rng, sent = self.rng, self.outcomes[task.encode()]
        if len(sent) >= MAX_OUTCOMES:
            self._repeat(task)
            return
        variant = rng.choice(VARIANTS[: 2 + len(self.tasks) % 3])
        good = rng.random() < (0.15 if variant in self._weak[task] else 0.95)
        outcome = m.Invocation(
            schema_version=1,
            invocation_id=f"i{self._number()}",
            timestamp=to_text(self.broker.clock + rng.choice((0, 0, 0, -86_400_000, 7_200_000))),
            agent_name=task.agent_name,
            task_type=task.task_type,
            variant_id=variant,
            status="success" if good else rng.choice(("failure", "error")),
            reward=rng.choice((None, None, rng.uniform(0.5, 1) if good else rng.uniform(-1, 0.2))),
            quality=rng.choice((None, rng.random())),
            duration_seconds=rng.choice((None, rng.uniform(0, 900))),
            active_epoch=rng.choice((None, None, 1, 2, 3)),
            runtime_id=rng.choice((None, "r1", "r2")),
            variant_source=rng.choice((None, None, "explore")),
            role=rng.choice((None, None, None, None, "shadow")),
        )
        sent.append(outcome)
        self._put(task, encode(outcome))

    def _repeat(self, task: TaskKey) -> None:
        if sent := self.outcomes[task.encode()]:
            again = self.rng.choice(sent)
            if self.rng.random() < 0.3:
                again = replace(again, variant_id=self.rng.choice(VARIANTS))
            self._put(task, encode(again))

    def _feedback(self, task: TaskKey) -> None:
        sent = self.outcomes[task.encode()]
        known = self.rng.choice(sent).invocation_id if sent else "i1"
        score = m.Feedback(
            schema_version=1,
            feedback_id=f"f{self._number() if self.rng.random() < 0.8 else 1}",
            timestamp=to_text(self.broker.clock),
            agent_name=task.agent_name,
            task_type=task.task_type,
            # Sometimes the score is for an outcome that has not been sent yet.
            invocation_id=known if self.rng.random() < 0.8 else f"i{self._numbers + 3}",
            reward=self.rng.uniform(-1, 1),
            quality=self.rng.choice((None, self.rng.random())),
        )
        self._put(task, encode(score))

    # -- orders ------------------------------------------------------------------------------------
    def _order(self, task: TaskKey) -> None:
        rng = self.rng
        if self.commands and rng.random() < 0.1:
            command: Any = rng.choice(list(self.commands.values()))
        else:
            command = self._review() if rng.random() < 0.35 else None
            command = command or self._plain_order(task)
            self.commands[command.command_id] = command
        self.broker.append(COMMANDS, TaskKey(command.agent_name, command.task_type).encode(), encode(command))

    def _common(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "command_id": f"c{self._number()}",
            "timestamp": to_text(self.broker.clock),
            "actor": self.rng.choice(("ada", "bob")),
            "reason": "the campaign",
        }

    def _plain_order(self, task: TaskKey) -> Any:
        rng = self.rng
        kind: Any = rng.choice(_ORDERS)
        fields = self._common() | {"agent_name": task.agent_name, "task_type": task.task_type}
        if rng.random() < 0.2:
            fields["expected_epoch"] = rng.randint(0, 3)
        if kind in {m.HoldTask, m.PinVariant}:
            fields["hours"] = rng.choice((0.01, 1.0, 50.0))
        elif kind is m.ConfirmRollback:
            found = self._last(ROLLBACKS)
            fields["rollback_id"] = found.rollback_id if found is not None else "rb-1"
        elif kind not in {m.ResumeTask, m.UnpinVariant, m.UndoRollback}:
            fields["variant_id"] = rng.choice(VARIANTS)
        if kind is m.ProposeVariant:
            fields |= {"variant_id": f"c{rng.randint(1, 6)}", "source": "gepa@1", "configuration": {"n": rng.random()}}
        return kind(**fields)

    def _review(self) -> Any:
        """Return a person's review of a recently published proposal, or None if there is none."""
        proposal = self._last(PROPOSALS)
        if proposal is None:
            return None
        roll = self.rng.random()
        if roll < 0.4:
            return approval_of(proposal, **self._common())
        kind: Any = m.RejectProposal if roll < 0.7 else m.DeferProposal
        return kind(
            agent_name=proposal.agent_name,
            task_type=proposal.task_type,
            proposal_id=proposal.proposal_id,
            **self._common(),
        )

    def _last(self, topic: str) -> Any:
        logs = [log for log in self.broker.topics[topic] if log]
        if not logs:
            return None
        record = self.rng.choice(logs)[-1]
        decoded: Any = decode(topic, record.value, record.key)
        return decoded.message

    def _set_policy(self) -> None:
        rng = self.rng
        policy = PolicySet(
            default=Policy(
                degradation=Degradation(
                    lookback_window=rng.randint(2, 20),
                    min_recent=2,
                    min_baseline=4,
                    guard=rng.choice(("none", "none", "evidence")),
                    clean_verdicts=3,
                ),
                auto_apply=AutoApply(min_samples=3, min_outcomes_since_active=2, cooldown=4, min_lead=0.01),
                human_approval=HumanApproval(min_samples=2),
                rollback=Rollback(min_samples=2, undo_hold=5, renotify=5),
                proposals=Proposals(min_invocations=5, promote_min_samples=2, expires_days=1),
                operations=Operations(mode=rng.choice(("enforce", "enforce", "enforce", "shadow", "observe"))),
                limits=Limits(snapshot_outcomes=rng.randint(1, 10)),
            )
        )
        command = m.SetPolicy(policy=policy, policy_hash=policy.digest(), **self._common())
        self.broker.append(COMMANDS, POLICY_KEY, encode(command))

    def _order_fleet(self) -> None:
        """Append a fleet command to each partition; sometimes the last partitions do not get it."""
        rng = self.rng
        command: m.FleetCommand = m.ResumeAll(**self._common())
        if rng.random() < 0.6:
            command = m.HoldAll(hours=rng.choice((0.001, 0.01, 24.0)), **self._common())
        partitions = self.broker.partitions
        for partition in range(partitions if rng.random() < 0.8 else rng.randint(1, partitions)):
            self.broker.append(COMMANDS, FLEET_KEY, encode(command), partition=partition)

    # -- invalid records -------------------------------------------------------------------------
    def _rubbish(self, task: TaskKey) -> None:
        rng = self.rng
        key, value = rng.choice((None, task.encode(), b"nobody")), rng.choice(_BAD)
        if rng.random() < 0.3:
            self.broker.append(COMMANDS, key, value)
        elif rng.random() < 0.2:
            reference = m.CommandRef(
                schema_version=1,
                command_id="c0",
                partition=0,
                offset=1_000_000,
                sha256="0" * 64,
                agent_name=task.agent_name,
                task_type=task.task_type,
            )
            self.broker.append(INVOCATIONS, task.encode(), encode(reference))
        else:
            self.broker.append(INVOCATIONS, key, value)
