"""The queue of proposals, and everything a person needs to decide about each of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.figures import counted, noun
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text
from crl_stream.core.proposer.step import undo_of
from crl_stream.core.reach import past_words, touches_words
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.pages import marks, orders
from crl_stream.dashboard.pages.frame import Scene, open_proposals, page
from crl_stream.dashboard.pages.phrases import left
from crl_stream.dashboard.pages.viewer import Viewer
from crl_stream.proposals.comparison import differences
from crl_stream.proposals.digest import benefit_lines, helped_of
from crl_stream.proposals.page import begins_rollout, effect, number, orders_in_force, undo_command
from crl_stream.proposals.standing import ending, status_at, updated_at

DETAILED: Final = 25
"""How many proposals the page has everything about; the others are a link away."""
QUEUED: Final = 500
"""How many proposals the queue lists."""
DECIDED: Final = 8
"""How many decided proposals the page lists."""
KINDS: Final = {
    "create_specialized_variant": ("plus", "Create"),
    "modify_variant_parameters": ("tune", "Try"),
    "promote_variant_to_default": ("up", "Promote"),
    "retire_underperforming_variant": ("minus", "Retire"),
    "enforce_task": ("check", "Enforce"),
}
"""Icon and verb of each type of proposal."""


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """One proposal in the queue."""

    proposal: m.Proposal
    key: TaskKey
    icon: str
    title: str
    time_left: str
    status: str
    here: bool
    """Whether the page has everything about it."""


class Reviewed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the page says about one proposal."""

    proposal: m.Proposal
    key: TaskKey
    title: str
    status: str
    variants: list[tuple[m.VariantSnapshot, tuple[str, str]]]
    """The active variant, and the one the proposal is about."""
    kinds: str
    """Why the active variant's outcomes were bad."""
    figures: list[tuple[str, str]]
    change: list[tuple[str, str, str]]
    """Sign, name and text of each line of the exact change."""
    effects: list[str]
    blast: list[tuple[str, str, str]]
    orders_in_force: list[str]
    acts: list[orders.Order]


def review_page(
    fleet: Fleet, viewer: Viewer, now: int, *, troubles: Sequence[str] = (), parts: bool = False, show: str = ""
) -> str:
    """Return the review queue at ``now``, with everything about its first proposals and about ``show``, an id.

    ``parts`` changes nothing here; every page takes it.
    """
    scene = Scene(fleet=fleet, viewer=viewer, now=now, troubles=troubles, orders=[])
    waiting = open_proposals(fleet, now)
    here = [p for number, p in enumerate(waiting) if number < DETAILED or p.proposal_id == show]
    ids = {p.proposal_id for p in here}
    queue = [_queued(p, now, here=p.proposal_id in ids) for p in waiting[:QUEUED]]
    decided = [p for p in fleet.proposals.values() if status_at(p, now) not in {"pending", "deferred"}]
    decided.sort(key=lambda p: -from_text(updated_at(p)))
    return page(
        scene,
        "review.html",
        title="Review",
        current="review",
        queue=queue,
        left_out=len(waiting) - len(queue),
        articles=[_reviewed(scene, proposal) for proposal in here],
        judged=benefit_lines(helped_of(benefits_of(fleet), now)),
        n_pending=sum(p.status == "pending" for p in waiting),
        n_deferred=sum(p.status == "deferred" for p in waiting),
        decided=[
            (p, TaskKey(p.agent_name, p.task_type), title_of(p), status_at(p, now), *ending(p), _result_of(fleet, p))
            for p in decided[:DECIDED]
        ],
        parts=parts,
    )


def benefits_of(fleet: Fleet) -> list[m.Benefit]:
    """Return the known judgements of changes, oldest first."""
    found = [fact for fact in fleet.facts.values() if isinstance(fact, m.Benefit)]
    return sorted(found, key=lambda fact: from_text(fact.timestamp))


def _result_of(fleet: Fleet, proposal: m.Proposal) -> str:
    """Return what the monitor did with the approval of a proposal; empty if that is not known."""
    for fact in fleet.facts.values():
        if isinstance(fact, m.CommandResult) and fact.command == "ApproveProposal" and fact.outcome == "applied":
            done, _, detail = fact.detail.partition(" approved: ")
            if done == proposal.proposal_id:
                return detail
    return ""


def title_of(proposal: m.Proposal) -> str:
    """Return what a proposal is about in two words: ``Retire api-haiku``."""
    return f"{KINDS[proposal.proposal_type][1]} {proposal.target_variant}"


def _queued(proposal: m.Proposal, now: int, *, here: bool) -> Queued:
    return Queued(
        proposal=proposal,
        key=TaskKey(proposal.agent_name, proposal.task_type),
        icon=KINDS[proposal.proposal_type][0],
        title=title_of(proposal),
        time_left=left(from_text(proposal.expires_at) - now),
        status=status_at(proposal, now),
        here=here,
    )


def _reviewed(scene: Scene, proposal: m.Proposal) -> Reviewed:
    fleet, now = scene.fleet, scene.now
    key = TaskKey(proposal.agent_name, proposal.task_type)
    snapshot, active = fleet.tasks.get(key), fleet.actives.get(key)
    status = status_at(proposal, now)
    effects = effect(proposal, status, active, now, snapshot)
    # The dialog says itself how an approval is undone.
    words = [line for line in effects if not line.startswith(("crl ", " ", "To undo the approval"))]
    reach = touches_words(proposal.touches) or touches_words(None if snapshot is None else snapshot.touches)
    back = undo_command(proposal, active, snapshot)
    acts = [orders.approve(proposal, words, reach, back), orders.reject(proposal, reach), orders.defer(proposal, reach)]
    if proposal.change.action == "enforce":
        acts = acts[1:]  # it changes the policy, which only the command does
    return Reviewed(
        proposal=proposal,
        key=key,
        title=title_of(proposal),
        status=status,
        variants=_variants(proposal, snapshot),
        kinds=_kinds(snapshot),
        figures=[(name, number(value)) for name, value in proposal.supporting_data.items()],
        change=_change(proposal.change),
        effects=effects,
        blast=_blast(fleet, key, proposal),
        orders_in_force=orders_in_force(active, now),
        acts=[scene.order(order) for order in acts],
    )


def _variants(proposal: m.Proposal, snapshot: m.TaskSnapshot | None) -> list[tuple[m.VariantSnapshot, tuple[str, str]]]:
    if snapshot is None:
        return []
    wanted = {snapshot.active_variant, proposal.target_variant, proposal.change.parent}
    found = [(variant, marks.cells_of(variant.window)) for variant in snapshot.variants if variant.variant_id in wanted]
    return sorted(found, key=lambda one: not one[0].active)


def _kinds(snapshot: m.TaskSnapshot | None) -> str:
    active = None if snapshot is None else next((v for v in snapshot.variants if v.active), None)
    if active is None:
        return ""
    kinds = active.failure_kinds
    return (
        f"What goes wrong with {active.variant_id}: {counted(kinds.errors, 'error')}, "
        f"{counted(kinds.failures, 'failure')}, {kinds.slow} slow, {kinds.low_quality} rated low, "
        f"of {active.n_visits:,} {noun(active.n_visits, 'outcome')}."
    )


def _blast(fleet: Fleet, key: TaskKey, proposal: m.Proposal) -> list[tuple[str, str, str]]:
    """Return what an approval reaches: name, figure, remark."""
    snapshot, active, change = fleet.tasks.get(key), fleet.actives.get(key), proposal.change
    found = proposal.touches or (None if snapshot is None else snapshot.touches)
    share = 0.0 if active is None else active.exploration
    staged = begins_rollout(proposal, active, snapshot)
    switches = "A rollout begins" if staged else "Switches"
    at_once = {"register": "Nothing", "activate": switches, "retire": "Nothing", "enforce": "Nothing"}[change.action]
    remark = {
        "register": "the active variant stays",
        "activate": f"{change.variant_id} {'gets a small share' if staged else 'becomes active'}",
        "retire": "it is not active",
        "enforce": "from then on it rolls back",
    }[change.action]
    back = undo_command(proposal, active, snapshot)
    if back is None and snapshot is not None:
        back = undo_of(snapshot, change)  # the proposal is of an older engine
    return [
        ("At once", at_once, remark),
        ("Touches", "unknown" if found is None else touches_words(found), ""),
        ("Last time", past_words(proposal.last_time) or "none known", ""),
        ("Exploration", f"{share:.3g}", "of the invocations may try a variant"),
        ("Way back", "unknown" if back is None else "One command", back or ""),
    ]


def _change(change: m.Change) -> list[tuple[str, str, str]]:
    """Return the exact change, line by line."""
    sign = {"register": "+", "activate": "+", "retire": "-", "enforce": "+"}[change.action]
    lines: list[tuple[str, str, str]] = [(sign, change.action, change.variant_id)]
    if change.action == "enforce":
        return [("+", "operations.mode", '"enforce" for this task')]
    for name in ("parent", "model_tier", "provider", "model", "temperature", "ref"):
        value = getattr(change, name)
        if value is not None:
            lines.append((sign, name, str(value)))
    for one in change.modifications:
        because = f"  (because: {one.reason})" if one.reason else ""
        if one.parameter is not None:
            lines.append(("+", one.parameter, f"{_json(one.value)}{because}"))
        else:
            name = f"{one.section or '(no section)'}, {one.operation or 'change'}"
            lines.append(("-" if one.operation == "remove" else "+", name, f"{one.content or ''}{because}"))
    if change.configuration is not None:
        lines += [("+", "configuration", line) for line in differences(None, change.configuration)]
    return lines


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
