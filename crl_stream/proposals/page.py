"""Renders one proposal in full, for the person who decides."""

from __future__ import annotations

import json
from typing import Any, Final

from crl_stream.core.instant import from_text
from crl_stream.core.messages import (
    ActiveVariant,
    Change,
    Filing,
    Modification,
    Order,
    Proposal,
    RegisteredVariant,
    TaskSnapshot,
    VariantCatalogue,
)
from crl_stream.core.messages.snapshots import OPEN_STATUSES
from crl_stream.core.reach import reach_fields
from crl_stream.proposals.comparison import differences
from crl_stream.proposals.standing import status_at

PROMOTIONS_STOPPED: Final = "kept from promotions with the fleet"
"""What a task is while a hold of the fleet stops promotions; rollbacks still happen."""


def page(
    proposal: Proposal,
    now: int,
    active: ActiveVariant | None = None,
    variants: VariantCatalogue | None = None,
    snapshot: TaskSnapshot | None = None,
) -> str:
    """Return everything known about a proposal, as text.

    ``now`` is in milliseconds since the epoch; for ``active`` and ``snapshot`` see ``effect``. ``variants`` are those
    of the task, with whose configurations a new one is compared.
    """
    status = status_at(proposal, now)
    lines = [
        f"{proposal.proposal_id}  {proposal.proposal_type}  {status}",
        f"  Agent: {proposal.agent_name}",
        f"  Task: {proposal.task_type}",
        f"  Target: {proposal.target_variant}",
        f"  Confidence: {proposal.confidence:.0%}",
        f"  Trigger: {proposal.trigger}",
        (
            f"  Made: {proposal.timestamp}  expires: {proposal.expires_at}  revision: {proposal.revision}"
            f"  epoch: {proposal.epoch}"
        ),
        f"  Tracker: {proposal.tracker_type}",
        *(f"  {name}: {_one_line(words)}" for name, words in reach_fields(proposal)),
        *_filing(proposal.filing),
        "",
        "Reasoning",
        *_indented(proposal.reasoning),
        "",
        "Evidence",
        *(f"  {name}: {number(value)}{_claimed(proposal, name)}" for name, value in proposal.supporting_data.items()),
        f"  up to outcome {proposal.position.partition}:{proposal.position.offset} of the log",
    ]
    if proposal.recommended_modifications:
        lines += ["", "Recommended modifications"]
        for modification in proposal.recommended_modifications:
            lines += _modification(modification)
    lines += ["", "The exact change", *_change(proposal.change)]
    if proposal.change.configuration is not None:
        lines += _configuration(proposal.change, variants)
    if proposal.history:
        lines += ["", "History"]
        for step in proposal.history:
            who = f" by {step.actor}" if step.actor else ""
            lines.append(f"  {step.timestamp}  {step.revision}  {step.status}{who}: {_one_line(step.reason)}")
    lines += ["", "Approving it", *(f"  {line}" for line in effect(proposal, status, active, now, snapshot))]
    return "\n".join(lines)


def effect(
    proposal: Proposal,
    status: str,
    active: ActiveVariant | None = None,
    now: int = 0,
    snapshot: TaskSnapshot | None = None,
) -> list[str]:
    """Return what an approval would do and the command for it, or why it is no longer possible.

    ``status`` is the proposal's status at ``now`` (milliseconds since the epoch). ``active`` is the task's
    active-variant record, whose pins and holds affect the result of an approval, and ``snapshot`` its newest one.
    """
    task, change = f"{proposal.agent_name}/{proposal.task_type}", proposal.change
    if status not in OPEN_STATUSES:
        return [f"is no longer possible: the proposal is {status}."]
    done = {
        "register": [
            f"registers {change.variant_id} for {task}" + (f", made from {change.parent}." if change.parent else "."),
            "The variant becomes active only after its own outcomes justify it; until then it can only be explored.",
            f"To give it a small share at once: crl proposals approve {proposal.proposal_id} --rollout",
            *(f"The variant does not become active while the task is {why}." for why in orders_in_force(active, now)),
        ],
        "activate": _activates(proposal, active, now, snapshot),
        "retire": [
            (
                f"retires {change.variant_id} of {task}: it is never chosen or explored again unless someone registers"
                " it again."
            ),
            "Approval is refused while that variant is active.",
        ],
        "enforce": [
            f"sets operations.mode to enforce for {task} in the fleet's policy, in your name.",
            "From then on, rollbacks and promotions of this task are made, no longer only reported.",
            *enforcing_lines(task),
        ],
    }[change.action]
    return [
        *done,
        f"Approval is refused if the epoch is no longer {proposal.epoch}, and after {proposal.expires_at}.",
        f"crl proposals approve {proposal.proposal_id}",
        f"crl proposals reject {proposal.proposal_id} --reason ...",
        *([f"To undo the approval afterwards: {back}"] if (back := undo_command(proposal, active, snapshot)) else []),
    ]


def _activates(proposal: Proposal, active: ActiveVariant | None, now: int, snapshot: TaskSnapshot | None) -> list[str]:
    """Return what the approval of a promotion does: it begins a rollout, or the variant is active at once."""
    task, name = f"{proposal.agent_name}/{proposal.task_type}", proposal.change.variant_id
    lifts = [f"It lifts the quarantine of {name}."] if active is not None and name in active.quarantined else []
    if not begins_rollout(proposal, active, snapshot):
        return [
            f"makes {name} the active variant of {task} at once; runtimes switch to it with their next invocation.",
            *lifts,
            _protection(active, now, task),
            *_pin(active, now, task),
        ]
    waits = [words for words in orders_in_force(active, now) if not words.startswith("pinned")]
    unprotected = [words for words in waits if not words.startswith(PROMOTIONS_STOPPED)]
    aborts = (
        "It is not aborted meanwhile, even if it is degraded." if unprotected else "It is aborted if it is degraded."
    )
    return [
        f"begins a rollout: {name} gets a share of the invocations of {task}, and is not active before the last stage.",
        "Each stage gives it a larger share, but begins only while it is not worse.",
        *([f"The next stage does not begin while the task is {' and '.join(waits)}."] if waits else []),
        *lifts,
        f"{aborts} crl rollout abort {task} ends the rollout while it is in progress.",
        *_pin(active, now, task),
    ]


def begins_rollout(proposal: Proposal, active: ActiveVariant | None, snapshot: TaskSnapshot | None) -> bool:
    """Return whether the approval of a promotion begins a rollout, because the policy has stages for the task.

    Without a snapshot, the way back that the proposal itself names tells it.
    """
    if proposal.change.action != "activate" or (active is not None and active.mode != "enforce"):
        return False
    limits = None if snapshot is None else snapshot.proposal_limits
    if limits is not None:
        return limits.staged
    return (proposal.undo_command or "").startswith("crl rollout ")


def undo_command(
    proposal: Proposal, active: ActiveVariant | None = None, snapshot: TaskSnapshot | None = None
) -> str | None:
    """Return the command that undoes the approval of a proposal; None if it is not known."""
    task = f"{proposal.agent_name}/{proposal.task_type}"
    if proposal.change.action != "activate":
        return proposal.undo_command
    if begins_rollout(proposal, active, snapshot):
        return f"crl rollout abort {task}"
    return f"crl undo {task} --epoch {proposal.epoch + 1}"


def enforcing_lines(task: str) -> list[str]:
    """Return how to keep ``task`` enforced: the next ``crl policy apply`` sends a whole settings file."""
    return [
        "Put this into crl.toml, or the next crl policy apply reverts it:",
        f'  [tasks."{task}".operations]',
        '  mode = "enforce"',
    ]


def orders_in_force(active: ActiveVariant | None, now: int) -> list[str]:
    """Return what prevents automatic changes to the task: ``held by ada until ...``, ``in shadow mode``, or a pin."""
    if active is None:
        return []
    found = []
    fleet = active.fleet_held
    whole = "held with the fleet" if fleet is None or fleet.stops == "all" else PROMOTIONS_STOPPED
    for words, order in (("pinned", active.pinned), ("held", active.held), (whole, fleet)):
        if order is None or (order is active.held and order.scope == "fleet") or not stands(order, now):
            continue
        until = f" until {order.until}" if order.until else ""
        found.append(f"{words} by {_one_line(order.actor)}{until}")
    return [*found, f"in {active.mode} mode"] if active.mode != "enforce" else found


def stands(order: Order, now: int) -> bool:
    """Return whether a pin or hold is still in force at ``now`` (milliseconds), judging by time alone."""
    return bool(order.outcomes_left) or order.until is None or from_text(order.until) > now


def _protection(active: ActiveVariant | None, now: int, task: str) -> str:
    back = f"crl undo {task} reverts it."
    protects = ("pinned", PROMOTIONS_STOPPED)
    if why := [words for words in orders_in_force(active, now) if not words.startswith(protects)]:
        return f"The variant cannot be rolled back automatically while the task is {' and '.join(why)}; {back}"
    return f"The variant can be rolled back like any other; {back}"


def _pin(active: ActiveVariant | None, now: int, task: str) -> list[str]:
    if active is None or active.pinned is None or not stands(active.pinned, now):
        return []
    return [
        (
            f"Approval is refused while {active.variant_id} is pinned by {_one_line(active.pinned.actor)}:"
            f" crl unpin {task}."
        )
    ]


def number(value: float) -> str:
    """Format a number for people."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.6g}"


def _change(change: Change) -> list[str]:
    lines = [f"  {change.action} {change.variant_id}"]
    if change.action == "enforce":
        return ['  operations.mode = "enforce" for this task']
    for name in ("parent", "model_tier", "provider", "model", "temperature", "ref"):
        value = getattr(change, name)
        if value is not None:
            lines.append(f"  {name}: {_one_line(str(value))}")
    for modification in change.modifications:
        lines += _modification(modification)
    return lines


def _claimed(proposal: Proposal, name: str) -> str:
    """Mark the only figure of a filed proposal that its source claims."""
    return " (claimed)" if proposal.filing is not None and name == "potential_improvement" else ""


def _filing(filing: Filing | None) -> list[str]:
    """Return who filed the proposal and what they claim; the claim is nothing that crl-stream has measured."""
    if filing is None:
        return []
    lines = [f"  Filed by: {_one_line(filing.actor)}", f"  Source: {_one_line(filing.source)}"]
    evidence = filing.evidence
    if evidence is not None:
        claims = [(name, getattr(evidence, name)) for name in evidence.__struct_fields__]
        lines += ["", f"Claimed by {_one_line(filing.source)}, not measured by crl-stream"]
        lines += [f"  {name}: {_one_line(str(value))}" for name, value in claims if value is not None]
    return lines


def _configuration(change: Change, variants: VariantCatalogue | None) -> list[str]:
    """Return how the candidate's configuration differs from its parent's, or all of it if that is not known."""
    parent = _parent(change, variants)
    if parent is not None and parent.configuration is not None:
        head = f"The configuration, compared with {change.parent}"
    elif change.parent:
        head = f"The whole configuration ({change.parent} has none to compare it with)"
    else:
        head = "The whole configuration (it names no parent to compare it with)"
    lines = differences(None if parent is None else parent.configuration, change.configuration)
    return ["", head, *(f"  {_one_line(line)}" for line in lines or ["no difference"])]


def _parent(change: Change, variants: VariantCatalogue | None) -> RegisteredVariant | None:
    if variants is None:
        return None
    return next((one for one in variants.variants if one.variant_id == change.parent), None)


def _modification(modification: Modification) -> list[str]:
    if modification.parameter is not None:
        lines = [f"  - {_one_line(modification.parameter)} = {_json(modification.value)}"]
    else:
        lines = [f"  - {modification.operation or 'change'} {_one_line(modification.section or '(no section)')}"]
    if modification.content is not None:
        lines += [f"  {line}" for line in _indented(modification.content)]
    if modification.reason is not None:
        lines.append(f"    because: {_one_line(modification.reason)}")
    return lines


def _indented(text: str) -> list[str]:
    return [f"  {_one_line(line)}" for line in text.splitlines()] or ["  -"]


def _one_line(text: str) -> str:
    """Remove control characters, because proposals contain text from prompts."""
    return "".join(c if c.isprintable() else " " for c in text).rstrip()


def _json(value: Any) -> str:
    return _one_line(json.dumps(value, ensure_ascii=False))
