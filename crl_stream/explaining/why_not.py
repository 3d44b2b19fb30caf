"""Why nothing happens to a task: the questions of the engine, with who set the policy and how fresh the answer is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import to_text
from crl_stream.core.messages import Position, TaskSnapshot
from crl_stream.core.monitor.why_not.conditions import Condition as Told
from crl_stream.core.monitor.why_not.conditions import Question
from crl_stream.core.policy import GUIDE
from crl_stream.errors import NotFound
from crl_stream.explaining.documents import PolicyOrigin
from crl_stream.kafka.partition_rows import TaskState, read_task_state
from crl_stream.kafka.session import Access
from crl_stream.settings import Settings
from crl_stream.stages.inspection import questions, snapshot


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """One condition of a step of the engine."""

    key: str
    """Names the condition; does not change between releases."""
    label: str
    """What must be true."""
    holds: bool
    text: str
    """What is true, with figures and limit."""
    number: float | None = None
    limit: float | None = None
    details: list[str] = []
    """Further figures: one for each metric, or for each candidate."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the engine does one thing with the next outcome, if that changes no figure."""

    key: str
    """Names the question; does not change between releases."""
    variant_id: str | None
    """The variant that it is about; absent if it is about the whole task."""
    title: str
    acts: bool
    stops: str | None
    """Key of the first condition that is false; absent if all are true."""
    because: str | None
    """Why nothing happens, in words; absent if all conditions are true."""
    conditions: list[Condition]
    """All conditions, in the order in which the engine looks at them."""


class WhyNot(msgspec.Struct, frozen=True, kw_only=True):
    """Why nothing happens to a task, or to one variant of it."""

    agent_name: str
    task_type: str
    variant_id: str | None
    """The variant that was asked about; absent if the whole task was."""
    sentence: str
    """The conclusion."""
    active_variant: str | None
    epoch: int
    n_outcomes: int
    as_of: Position
    """The last record of the log that changed the task."""
    timestamp: str
    policy: PolicyOrigin
    behind: int
    """Number of offsets of the log that no worker has folded yet; if it does not fall, no worker is running."""
    answers: list[Answer]


_BECAUSE: Final = {
    "outcomes": "there are too few outcomes",
    "baseline": "there is too little to compare with",
    "values": "too few outcomes have a value",
    "part": "it is neither active nor being rolled out",
    "rule": "it is within its limits",
    "limit": "it is within its limit",
    "within": "it is still beyond its limit",
    "evidence": "the evidence is not enough",
    "target": "there is nothing to roll back to",
    "common_cause": "variants fell together",
    "one_runtime": "one runtime stands against the others",
    "q": "its Q is too low",
    "n": "it has too few outcomes",
    "degradation": "it was degraded lately",
    "since_active": "it was active not long ago",
    "declined": "its last rollout ended not long ago",
    "lead_q": "it is not far enough ahead in Q",
    "lead_reward": "it is not far enough ahead in mean reward",
    "better": "its lead may be chance",
    "sources": "only one runtime has tried it",
    "best": "another candidate is ahead of it",
    "cooldown": "the cooldown is not over",
    "compared": "it is not ahead of the active variant",
    "behind": "it is not clearly behind the active variant",
    "worse": "the target is not worse",
    "clean": "too few healthy verdicts in a row",
}
"""What a false condition means; conditions that are not listed say so themselves."""
MAIN: Final = ("rolled_back", "promoted")
"""The questions that the conclusion always answers."""
_QUIET: Final = frozenset(("degraded", "alerted", "verified", "judged_afterwards"))
"""Steps that change nothing for the runtimes, so the conclusion leaves them out."""


_IDLE: Final = "rule outcomes baseline part values pin hold incident verifying degraded open rollout reported full"
_NOTHING_TO_SAY: Final = frozenset([*_IDLE.split(), "covered", "new", "closed", "patience", "predicted", "since"])
"""Conditions that keep most steps from happening, mostly because there is nothing to end."""


def is_in_play(answer: Answer, found: WhyNot) -> bool:
    """Return whether an answer is shown in full: it happens, or its precondition is true and people ask for it."""
    if answer.key == "rolled_back" or (answer.acts and answer.key not in _QUIET):
        return True
    if answer.key == "promoted":
        best = next(one for one in found.answers if one.key == "promoted")
        return answer.variant_id == found.variant_id or (found.variant_id is None and answer is best)
    if answer.key in {"taken_back", "stage_passed", "rollout_aborted", "cause_recovered"}:
        return answer.conditions[0].holds
    return answer.key == "first"


def is_near(answer: Answer) -> bool:
    """Return whether it is worth a line why this does not happen; false if there is nothing that it could end."""
    return not answer.acts and answer.stops not in _NOTHING_TO_SAY


_EMPTY: Final = (
    "nothing does/no hold/no hold on the fleet/no pin/not retired/not quarantined/none/no incident/not paused/"
    "not degraded/no common fall/none does/the best/new/yes/not all from one runtime"
)
_SAID: Final = frozenset(_EMPTY.split("/"))
"""Texts that add nothing to the label of a true condition."""


def words_of(condition: Condition) -> str:
    """Return what a condition says beyond its label; empty if that is nothing."""
    return "" if condition.holds and condition.text in _SAID else condition.text


def details_of(condition: Condition) -> list[str]:
    """Return the figures that the text of a condition does not have yet."""
    return [detail for detail in condition.details if detail not in condition.text]


async def read_why_not(
    settings: Settings, access: Access, key: TaskKey, now: int, variant_id: str | None = None
) -> WhyNot:
    """Return why nothing happens to a task, from its row in the monitor's changelog.

    ``now`` is in milliseconds since the epoch.  Raises ``NotFound`` if the task or the variant is unknown.
    """
    state = await read_task_state(settings, access, key)
    if state.row is None:
        raise NotFound(f"Nothing is known of {key}.", hint="crl status lists the tasks")
    return why_not(key, state, now, variant_id)


def why_not(key: TaskKey, state: TaskState, now: int, variant_id: str | None = None) -> WhyNot:
    """Return why nothing happens to a task with this state; raises ``NotFound`` if the variant is unknown."""
    assert state.row is not None
    task = snapshot(state.partition, state.partition_row, state.row, now)
    known = [variant.variant_id for variant in task.variants]
    if variant_id is not None and variant_id not in known:
        raise NotFound(f"{key} has no variant {variant_id}.", hint=f"its variants: {', '.join(known) or 'none'}")
    asked = questions(state.partition, state.partition_row, state.row, now, variant_id)
    return WhyNot(
        agent_name=key.agent_name,
        task_type=key.task_type,
        variant_id=variant_id,
        sentence=_sentence(task, asked, variant_id),
        active_variant=task.active_variant,
        epoch=task.epoch,
        n_outcomes=task.n_outcomes,
        as_of=task.as_of,
        timestamp=task.timestamp,
        policy=_origin(state),
        behind=state.behind,
        answers=[_answer(question) for question in asked],
    )


def _origin(state: TaskState) -> PolicyOrigin:
    row = state.decoded
    return PolicyOrigin(
        policy_hash=row.policy_hash,
        actor=row.policy_actor or None,
        set_at=to_text(row.policy_time) if row.policy_actor else None,
        is_guide=row.policy_hash == GUIDE.digest(),
    )


def _answer(question: Question) -> Answer:
    stops = question.stops
    return Answer(
        key=question.key,
        variant_id=question.variant_id or None,
        title=question.title,
        acts=question.acts,
        stops=None if stops is None else stops.key,
        because=None if stops is None else _because(stops),
        conditions=[
            Condition(
                key=one.key,
                label=one.label,
                holds=one.holds,
                text=one.text,
                number=one.number,
                limit=one.limit,
                details=list(one.details),
            )
            for one in question.conditions
        ],
    )


def _because(stops: Told) -> str:
    words = _BECAUSE.get(stops.key)
    return stops.text if words is None else f"{words} ({stops.text})"


def _sentence(task: TaskSnapshot, asked: Sequence[Question], variant_id: str | None) -> str:
    """Return the conclusion: what happens with the next outcome, or why the active variant stays, and why no other."""
    if task.active_variant is None:
        return "No variant is active yet: the first live outcome that does not explore chooses one."
    wanted = [one for one in asked if variant_id in {None, one.variant_id}]
    clauses = [_clause(one) for one in asked if one.acts and one.key not in {*MAIN, *_QUIET}]
    main = MAIN if task.rollout is None or variant_id is not None else ("rolled_back", "stage_passed")
    for key in main:
        of_key = [one for one in wanted if one.key == key]
        acting = [one for one in of_key if one.acts]
        clauses += [_clause(one) for one in acting[:1] or of_key[:1] if _clause(one) not in clauses]
    clauses += [_clause(one) for one in wanted if one.key == "guardrail_acted" and not one.acts and _is_broken(one)]
    return ". ".join(clauses) + "." if clauses else f"{task.active_variant} is the only variant, and nothing is due."


def _clause(question: Question) -> str:
    stops = question.stops
    if stops is None:
        return f"With the next outcome, {question.title}"
    if " is " not in question.title:
        return f"{question.title}: not yet, because {_because(stops)}"
    title = question.title.replace(" is ", " is not ", 1)
    return f"{title}, because {_because(stops)}{_even_then(question, stops)}"


def _even_then(question: Question, stops: Told) -> str:
    """Return what else prevents a rollback that a hold prevents: releasing the hold would not be enough."""
    if question.key != "rolled_back" or stops.key not in {"hold", "fleet_hold"}:
        return ""
    further = {one.key: one.text for one in question.conditions if not one.holds and one.key != stops.key}
    reasons = [further["fleet_hold"]] if "fleet_hold" in further else []
    if "target" in further:
        reasons.append(f"there is nothing to roll back to ({further['target']})")
    return f". That alone is not enough: {'; '.join(reasons)}" if reasons else ""


def _is_broken(question: Question) -> bool:
    """Return whether a guardrail is beyond its limit, so that people ask why it does nothing."""
    return any(one.key == "limit" and one.holds for one in question.conditions)
