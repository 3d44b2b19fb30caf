"""A fleet of a thousand tasks with a story in each corner, made by the engine itself: no figure is written by hand.

The outcomes come from a seed, and those of ``airline-support/customer-service`` from a real agent.
"""

from __future__ import annotations

import json
import random
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import Degradation, Operations, Policy, PolicySet
from crl_stream.dashboard.fleet import TOPICS, Fleet
from crl_stream.settings import load_remedies
from crl_stream.stages.driver import Stored, TopologyDriver
from crl_stream.stages.overview import fold_notes
from crl_stream.stages.tally import SentNotes, note_records
from crl_stream.stages.topology import TALLY
from crl_stream.wire.codec import decode
from crl_stream.wire.topics import OVERVIEW

NOW = 1_795_749_160_000
"""2026-11-27T03:12:40Z, when the pages are looked at."""
MINUTE, DAY = 60_000, 86_400_000
AGENTS = (
    *("backend-architect", "invoice-matcher", "claims-reader", "kyc-verifier", "returns-handler", "code-reviewer"),
    *("data-engineer", "insurance-support", "medical-coder", "order-router", "email-triage", "release-manager"),
    *("fraud-screener", "hotel-support", "sql-analyst", "travel-planner", "contract-reader", "log-analyst"),
    *("security-auditor", "bank-support", "telecom-support", "parcel-support", "subscription-desk", "cost-optimizer"),
    *("incident-responder", "retail-support", "airline-support", "translator", "tutor", "recruiter"),
)
KINDS = (
    *("api-design", "line-items", "extraction", "evidence-check", "return-label", "code-review", "schema-migration"),
    *("rebooking", "classification", "refund", "handover-note", "type-annotation", "risk-score", "cancellation"),
    *("query-tuning", "discount-request", "summary", "runbook-draft", "security-audit", "complaint"),
    *("billing-question", "lost-item", "contract-renewal", "faq-answer", "order-status", "address-change"),
    *("test-writing", "warranty", "invoice-dispute", "escalation", "onboarding", "follow-up", "tone-check", "routing"),
)
STORIES = frozenset(
    (
        *("backend-architect", "invoice-matcher", "claims-reader", "kyc-verifier", "returns-handler", "code-reviewer"),
        *("data-engineer", "insurance-support", "medical-coder", "fraud-screener", "security-auditor", "bank-support"),
        *("contract-reader", "log-analyst", "subscription-desk", "parcel-support", "telecom-support"),
        "incident-responder",
    )
)
"""Agents whose first task has a story of its own."""
REAL_AGENT = TaskKey("airline-support", "customer-service")
REAL = Path(__file__).resolve().parents[2] / "examples" / "tau-bench-gpt-4o-airline.jsonl"


class Teller:
    """Tells stories to the engine, one outcome or command after the other."""

    def __init__(self) -> None:
        self.driver = TopologyDriver(partitions=4, start=NOW - 30 * DAY, tick=40, remedies=load_remedies(None))
        self._chance = random.Random(8)
        self._number = count(1)
        self._waiting: list[Any] = []

    def at(self, milliseconds_ago: int) -> None:
        """Continue the story this long before the pages are looked at."""
        self.flush()
        self.driver.clock = max(self.driver.clock, NOW - milliseconds_ago)

    def flush(self) -> None:
        self.driver.pipe(*self._waiting)
        self._waiting.clear()

    def outcomes(self, key: TaskKey, variant: str, letters: str, runtimes: int = 0, **fields: Any) -> None:
        """Let a variant have these outcomes: S success, F failure, E error."""
        status = {"S": "success", "F": "failure", "E": "error"}
        for number, letter in enumerate(letters):
            named = {} if not runtimes else {"runtime_id": f"rt-{'eu' if number % 2 else 'us'}-{number % runtimes + 1}"}
            self._waiting.append(
                m.Invocation(
                    schema_version=1,
                    invocation_id=f"inv-{next(self._number)}",
                    timestamp="2026-11-27T03:12:40Z",
                    agent_name=key.agent_name,
                    task_type=key.task_type,
                    variant_id=variant,
                    status=status[letter],  # type: ignore[arg-type]
                    quality=round(self._chance.uniform(0.85, 1.0), 2) if letter == "S" else 0.2,
                    **named,
                    **fields,
                )
            )

    def some(self, key: TaskKey, variant: str, number: int, rate: float, runtimes: int = 0, **fields: Any) -> None:
        """Let a variant have outcomes of which about ``rate`` succeed."""
        letters = "".join("S" if self._chance.random() < rate else "F" for _ in range(number))
        self.outcomes(key, variant, letters, runtimes, **fields)

    def command(self, kind: type[Any], key: TaskKey | None, actor: str, reason: str, **fields: Any) -> None:
        """Let a person command something."""
        self.flush()
        named = {} if key is None else {"agent_name": key.agent_name, "task_type": key.task_type}
        self.driver.pipe(
            kind(
                schema_version=1,
                command_id=f"cmd-{next(self._number)}",
                timestamp="2026-11-27T03:12:40Z",
                actor=actor,
                reason=reason,
                **named,
                **fields,
            )
        )

    def proposal(self, key: TaskKey) -> m.Proposal:
        """Return the newest open proposal about a task."""
        self.flush()
        return [p for p in self.driver.proposals() if (p.agent_name, p.task_type) == key and p.status == "pending"][-1]

    def collapse(
        self, key: TaskKey, bad: str, good: str = "default", runtimes: int = 4, letters: str = "SFFFFSFFFFFF"
    ) -> None:
        """Let a proven variant be replaced by another one, which fails until it is rolled back."""
        self.some(key, good, 40, 0.95, runtimes, active_epoch=1)
        self.outcomes(key, bad, "S" * 30, variant_source="explore")
        self.command(m.ActivateVariant, key, "ana", "better in every test", variant_id=bad)
        epoch = self.epoch(key)
        self.outcomes(key, bad, "S" * 20, runtimes, active_epoch=epoch)
        self.outcomes(key, bad, letters, runtimes, active_epoch=epoch)
        self.flush()

    def epoch(self, key: TaskKey) -> int:
        self.flush()
        return self.driver.snapshot(key.agent_name, key.task_type).epoch


def names(number: int) -> list[TaskKey]:
    """Return this many tasks; those with a story come first."""
    every = [TaskKey(agent, kind) for agent in AGENTS for kind in KINDS]
    random.Random(3).shuffle(every)
    stories = [TaskKey(agent, kind) for agent, kind in zip(AGENTS, KINDS, strict=False)]
    return list(dict.fromkeys([*stories, REAL_AGENT, *every]))[:number]


def tell(teller: Teller, number: int) -> None:
    """Tell the whole story of a fleet with this many tasks."""
    keys = names(number)
    told = {key.agent_name: key for key in keys[: len(AGENTS)]}
    guarded = Degradation(guard="evidence")
    shadow = Policy(degradation=guarded, operations=Operations(mode="shadow"))
    policies = PolicySet(
        default=Policy(degradation=guarded),
        tasks={str(told["subscription-desk"]): shadow, str(told["parcel-support"]): shadow},
    )
    teller.command(m.SetPolicy, None, "priya", "first policy", policy=policies, policy_hash=policies.digest())
    for place, key in enumerate(keys):
        if key == REAL_AGENT or (key.agent_name in STORIES and key == told[key.agent_name]):
            continue
        few = place % 27 == 0
        teller.some(key, "default", 3 if few else 24, 0.82 + (place % 17) / 100, place % 5, active_epoch=1)
    _real_agent(teller, REAL_AGENT)
    _older(teller, told)
    _tonight(teller, told)


def _real_agent(teller: Teller, key: TaskKey) -> None:
    for line in REAL.read_text(encoding="utf-8").splitlines():
        run = json.loads(line)
        letter = {"success": "S", "failure": "F", "error": "E"}[run["status"]]
        teller.outcomes(key, run["variant_id"], letter, 2)


def _older(teller: Teller, told: dict[str, TaskKey]) -> None:
    teller.at(20 * DAY)
    teller.collapse(told["returns-handler"], "label-v5", runtimes=5)
    teller.command(
        m.ConfirmRollback,
        told["returns-handler"],
        "marek",
        "the labels were wrong",
        rollback_id=last_rollback(teller, told["returns-handler"]),
    )
    teller.outcomes(told["returns-handler"], "default", "S" * 30, 5, active_epoch=teller.epoch(told["returns-handler"]))
    teller.at(6 * DAY)
    teller.collapse(told["code-reviewer"], "nitpick-v2", runtimes=5)
    teller.outcomes(
        told["code-reviewer"], "default", "S" * 25 + "FSE", 5, active_epoch=teller.epoch(told["code-reviewer"])
    )
    teller.at(2 * DAY)
    teller.collapse(told["fraud-screener"], "recall-v4", letters="SEEEESEEEEEE")
    teller.outcomes(told["fraud-screener"], "default", "S" * 25, 4, active_epoch=teller.epoch(told["fraud-screener"]))
    teller.some(told["security-auditor"], "default", 90, 0.45, 3)
    teller.some(told["bank-support"], "default", 80, 0.5, 2)
    teller.some(told["contract-reader"], "default", 60, 0.5, 3)
    teller.some(told["log-analyst"], "default", 60, 0.9, 3)
    teller.some(told["log-analyst"], "tools-v1", 60, 0.2, variant_source="explore")
    for agent, variant in (("subscription-desk", "keep-v1"), ("parcel-support", "haiku-v1")):
        teller.some(told[agent], "default", 60, 0.8, 3)
        teller.outcomes(told[agent], variant, "S" * 60, variant_source="explore")
    teller.some(told["telecom-support"], "default", 60, 0.75, 2)
    teller.some(told["telecom-support"], "opus-v1", 60, 0.85, variant_source="explore")
    teller.flush()
    for proposal in teller.driver.proposals()[-1:]:
        key = TaskKey(proposal.agent_name, proposal.task_type)
        teller.command(m.RejectProposal, key, "marek", "three weeks of low ratings", proposal_id=proposal.proposal_id)


def _tonight(teller: Teller, told: dict[str, TaskKey]) -> None:
    teller.at(170 * MINUTE)
    teller.collapse(told["kyc-verifier"], "strict-v3", runtimes=3)
    teller.at(100 * MINUTE)
    key = told["kyc-verifier"]
    teller.command(
        m.UndoRollback, key, "marek", "the test bench was down, not the variant", expected_epoch=teller.epoch(key)
    )
    teller.outcomes(key, "strict-v3", "S" * 18 + "FS", 3, active_epoch=teller.epoch(key))
    teller.command(m.HoldTask, told["data-engineer"], "marek", "model gateway maintenance", hours=6.0)
    for agent, who, why in (
        ("insurance-support", "tomasz", "customer demo on Friday"),
        ("medical-coder", "ana", "month-end close"),
    ):
        teller.some(told[agent], "default", 40, 0.93, 3)
        teller.command(m.PinVariant, told[agent], who, why, hours=48.0)
    teller.some(told["data-engineer"], "default", 30, 0.95, 5)
    teller.at(42 * MINUTE)
    teller.outcomes(told["invoice-matcher"], "default", "S" * 40, 3, active_epoch=1)
    teller.outcomes(told["invoice-matcher"], "default", "FFSFSFSFFFFSSFFSFSFSFFFF", 3, active_epoch=1)
    teller.at(34 * MINUTE)
    key = told["claims-reader"]
    teller.some(key, "default", 40, 0.95, 4, active_epoch=1)
    teller.outcomes(key, "forms-v2", "S" * 30, variant_source="explore")
    teller.command(m.ActivateVariant, key, "priya", "the new forms", variant_id="forms-v2")
    teller.command(m.HoldTask, key, "priya", "scanner firmware is being replaced tonight", hours=4.0)
    teller.outcomes(key, "forms-v2", "S" * 12 + "FSFFSFFSFFFSFSFFSF", 4, active_epoch=teller.epoch(key))
    key = told["incident-responder"]
    teller.some(key, "default", 40, 0.9, 4, active_epoch=1)
    teller.command(
        m.RegisterVariant, key, "ana", "shorter answers", variant_id="terse-v2", parent="default", model="m-2"
    )
    teller.outcomes(key, "terse-v2", "S" * 12, variant_source="explore")
    teller.command(m.StartRollout, key, "ana", "step by step", variant_id="terse-v2")
    teller.at(8 * MINUTE)
    key = told["backend-architect"]
    teller.driver.tick = 300  # what the engine writes takes time too
    teller.collapse(key, "api-optimized", "api-baseline", letters="SSSSSSSSFSSSSSFFFFSFFF")
    teller.outcomes(key, "api-baseline", "SSSSSSSSSSSSSSSS", 3, active_epoch=teller.epoch(key))
    teller.flush()
    teller.driver.fall_silent(20_000)


def last_rollback(teller: Teller, key: TaskKey) -> str:
    events: list[m.RollbackEvent] = teller.driver.read("crl.rollbacks")
    return [event.rollback_id for event in events if (event.agent_name, event.task_type) == key][-1]


def heard(driver: TopologyDriver) -> Fleet:
    """Return what the dashboard knows after it has read every topic of the engine."""
    fleet = Fleet()
    for topic in TOPICS:
        if topic != OVERVIEW:
            for record in driver.records(topic):
                _take(fleet, topic, record)
    _take(fleet, OVERVIEW, page_of(driver))
    return fleet


def page_of(driver: TopologyDriver) -> Stored:
    """Return the record of the page of ``crl.overview``, folded from the notes about all topics."""
    notes = [
        Stored(0, record.timestamp, output.key, output.value)
        for topic in TALLY.sources
        for partition, log in enumerate(driver.topics[topic])
        for record in log
        for output in note_records(topic, partition, [record], SentNotes())
    ]
    notes.sort(key=lambda note: note.timestamp)
    folded = fold_notes(None, {}, [note._replace(offset=offset) for offset, note in enumerate(notes)])
    [value] = [output.value for output in folded.outputs if output.topic == OVERVIEW][-1:]
    return Stored(0, notes[-1].timestamp, b"overview", value)


def _take(fleet: Fleet, topic: str, record: Stored) -> None:
    decoded = decode(topic, record.value, record.key)  # type: ignore[arg-type]
    fleet.take(topic, _Received(record, getattr(decoded, "message", None)))


class _Received:
    def __init__(self, record: Stored, message: Any) -> None:
        self.record, self.message = record, message


@cache
def story(number: int = 1_000) -> Fleet:
    """Return the fleet as the dashboard knows it; it is made once."""
    teller = Teller()
    tell(teller, number)
    return heard(teller.driver)


@cache
def held_fleet(number: int = 60) -> Fleet:
    """Return a smaller fleet that a person holds as a whole."""
    teller = Teller()
    tell(teller, number)
    teller.command(m.HoldAll, None, "priya", "the judge model returns zeros", hours=4.0)
    teller.driver.fall_silent(5_000)
    return heard(teller.driver)


@cache
def failing_provider(number: int = 60, fallen: int = 12) -> Fleet:
    """Return a smaller fleet in which everything that uses one provider fails at the same time."""
    teller = Teller()
    tell(teller, number)
    keys = [TaskKey(f"agent-{n % 5}", f"kind-{n}") for n in range(fallen)]
    for key in keys:
        teller.outcomes(key, "default", "S" * 80, provider="azure-eu")
        teller.outcomes(key, "v2", "S" * 40, provider="azure-eu", variant_source="explore")
    for _ in range(8):
        teller.flush()
        for key in keys:
            active = teller.driver.snapshot(key.agent_name, key.task_type).active_variant or "default"
            teller.outcomes(key, active, "FFF", provider="azure-eu")
    teller.flush()
    teller.driver.fall_silent(5_000)
    return heard(teller.driver)
