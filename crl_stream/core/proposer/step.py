"""The proposer: turns snapshots of one task into proposals, as a pure fold over ``crl.tasks`` alone.

    review_task(data: bytes | None, snapshot: TaskSnapshot, remedies: Remedies) -> (bytes, list[Proposal])

is the whole interface.  It takes the row of a task (None at first), and returns the new row and what to publish: each
proposal in its newest revision.  ``step`` does the same with a decoded row.  ``approval_of`` builds the command that
approves a proposal.  ``settings.remedies.load_remedies`` reads the catalogue.

Laws: a snapshot that is not newer than the row, by (incarnation, ``as_of.offset``), changes nothing.  At most one
proposal is open (pending or deferred) per task, type and target.  An open proposal is tied to the epoch it was made
for, and is superseded when the epoch changes or it no longer applies.  One that was filed from outside instead follows
the task into the new epoch with a revision.  A revision needs 50 % more evidence, or 10 % more if the trigger or the
confidence has changed.  To prevent flapping, evidence must grow before the same change is
proposed again: it must double after a rejection, and grow by half after an expiry or a loss of grounds.  A task has at
most ``proposals.max_open`` pending proposals of the proposer: a more confident one takes the place of the least
confident one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from crl_stream.core.identity import TaskKey
from crl_stream.core.ids import fact_id
from crl_stream.core.instant import from_text, to_text
from crl_stream.core.messages import (
    ApproveProposal,
    Change,
    FiledProposal,
    Proposal,
    ProposalLimits,
    ReviewResult,
    Revision,
    TaskSnapshot,
)
from crl_stream.core.messages.parts import ProposalType
from crl_stream.core.messages.snapshots import OPEN_STATUSES, ProposalStatus
from crl_stream.core.proposer import filed as filed_proposals
from crl_stream.core.proposer.draft import Draft, bounded, view_of
from crl_stream.core.proposer.remedies import Remedies, digest
from crl_stream.core.proposer.row import ProposalRow, Quiet, Waiting, decode_row, encode_row, new_row
from crl_stream.core.proposer.rules import RULE_OF, RULES
from crl_stream.core.version import ENGINE_VERSION

_DAY: Final = 86_400_000
_HISTORY: Final = 20
_REMEMBERED: Final = 32
"""How many ``quiet`` entries may name variants never created; every other entry is dropped along with its variant."""


def review_task(data: bytes | None, snapshot: TaskSnapshot, remedies: Remedies) -> tuple[bytes, list[Proposal]]:
    """Fold a snapshot into the row of its task; return the row's bytes and the proposals to publish, in order."""
    row = new_row(TaskKey(snapshot.agent_name, snapshot.task_type)) if data is None else decode_row(data)
    published = step(row, snapshot, remedies)
    return encode_row(row), published or []


def step(row: ProposalRow, snapshot: TaskSnapshot, remedies: Remedies) -> list[Proposal] | None:
    """Fold a snapshot into ``row``, in place; if it is not newer than the row, change nothing and return None."""
    if (snapshot.incarnation, snapshot.as_of.offset) <= (row.incarnation, row.offset):
        return None
    row.incarnation, row.offset = snapshot.incarnation, snapshot.as_of.offset
    row.time = max(row.time, from_text(snapshot.timestamp))
    return _Look(row, snapshot, remedies).run()


def proposals_of(data: bytes) -> list[Proposal]:
    """Return the open proposals in the bytes of a task's row."""
    return [waiting.proposal for waiting in decode_row(data).open]


def approval_of(proposal: Proposal, **command: Any) -> ApproveProposal:
    """Build the command that approves a proposal exactly as it is; ``command`` gives the fields all commands share."""
    return ApproveProposal(
        agent_name=proposal.agent_name,
        task_type=proposal.task_type,
        expected_epoch=proposal.epoch,
        proposal_id=proposal.proposal_id,
        proposal_type=proposal.proposal_type,
        change=proposal.change,
        valid_until=proposal.expires_at,
        **command,
    )


class _Look:
    """The processing of one snapshot."""

    def __init__(self, row: ProposalRow, snapshot: TaskSnapshot, remedies: Remedies) -> None:
        self.row, self.snapshot = row, snapshot
        self.view = view_of(snapshot, remedies, frozenset(row.carried.get(snapshot.active_variant or "", ())))
        self.drafts: dict[tuple[str, str], Draft] = {}
        if self.view is not None:
            self.drafts = {
                (rule.name, d.target): bounded(d, rule.name, snapshot)
                for rule in RULES
                for d in rule.propose(self.view)
            }
        self.published: list[Proposal] = []

    def run(self) -> list[Proposal]:
        row = self.row
        self._forget()
        row.open = [kept for waiting in row.open if (kept := self._settle(waiting)) is not None]
        while len(counted := self._counted()) > self._limit:
            self._close_for_room(_least(counted), "there were more")
        known = {(waiting.proposal.proposal_type, waiting.proposal.target_variant) for waiting in row.open}
        self._take_filed()
        quiet = {(q.proposal_type, q.target): q.n for q in row.quiet}
        new = [
            (name, draft)
            for (name, target), draft in self.drafts.items()
            if (name, target) not in known and draft.n >= quiet.get((name, target), 0)
        ]
        if len(new) + len(row.open) > self._limit:  # else all fit, in the order of the rules
            new.sort(key=lambda one: -one[1].confidence)
        for name, draft in new:
            if self._has_room(draft):
                row.open.append(Waiting(self._open(name, draft)))  # type: ignore[arg-type]
        return self.published

    @property
    def _limit(self) -> int:
        return (self.snapshot.proposal_limits or ProposalLimits()).max_open

    def _has_room(self, draft: Draft) -> bool:
        """Return whether a proposal can be opened, if need be in the place of the least confident one.

        A draft without room is drafted again from every snapshot, so it is opened as soon as there is room.  Proposals
        that came from outside have a limit of their own, and one that a person has deferred keeps its place.
        """
        counted = self._counted()
        if len(counted) < self._limit:
            return True
        least = _least(counted)
        if least.proposal.confidence >= draft.confidence:
            return False
        self._close_for_room(
            least,
            f"made room for a more confident proposal about {draft.target} ({draft.confidence:.0%} against "
            f"{least.proposal.confidence:.0%})",
        )
        return True

    def _counted(self) -> list[Waiting]:
        """Return the open proposals that count against the limit."""
        return [one for one in self.row.open if one.proposal.filing is None and one.proposal.status == "pending"]

    def _close_for_room(self, waiting: Waiting, why: str) -> None:
        self._revise(
            waiting,
            "superseded",
            f"{why}: the task may have {self._limit} open (proposals.max_open); it is proposed again when there is "
            "room",
        )
        self.row.open.remove(waiting)

    def _take_filed(self) -> None:
        """Open what was filed from outside since the last snapshot."""
        row, snapshot, view = self.row, self.snapshot, self.view
        row.closed = [one for one in row.closed if any(one == filed.proposal_id for filed in snapshot.filed)]
        met = {waiting.proposal.proposal_id for waiting in row.open} | set(row.closed)
        for filed in snapshot.filed:
            if view is not None and filed.proposal_id not in met and row.time <= from_text(filed.expires_at):
                row.open.append(Waiting(self._open(filed_proposals.TYPE, self._filed(filed), filed)))

    def _filed(self, filed: FiledProposal) -> Draft:
        assert self.view is not None
        return bounded(filed_proposals.draft_of(self.view, filed), filed_proposals.TYPE, self.snapshot)

    def _forget(self) -> None:
        """Drop what is known about variants that are gone, and about proposed ids that have since been used."""
        row, there = self.row, {variant.variant_id for variant in self.snapshot.variants}
        row.carried = {name: digests for name, digests in row.carried.items() if name in there}
        row.quiet = [q for q in row.quiet if (q.target in there) != (q.proposal_type in _MAKING)]

    # -- open proposals ----------------------------------------------------------------------------
    def _settle(self, waiting: Waiting) -> Waiting | None:
        """Update an open proposal with this snapshot; return None if that closes it."""
        row = self.row
        if self._take_reviews(waiting):
            return None
        proposal = waiting.proposal
        if row.time > from_text(proposal.expires_at):
            self._revise(waiting, "expired", f"not reviewed by {proposal.expires_at}")
            self._remember(proposal)
            return None
        why = self._lapse(proposal)
        if why is not None:
            self._revise(waiting, "superseded", why)
            if proposal.epoch == self.snapshot.epoch or proposal.filing is not None:
                self._remember(proposal)  # in a new epoch, the proposer may propose the same change at once
            return None
        if proposal.deferred_until is not None and row.time >= from_text(proposal.deferred_until):
            self._revise(waiting, "pending", f"pending again: it was deferred until {proposal.deferred_until}")
        if proposal.filing is not None:
            self._follow(waiting)
            return waiting
        draft = self.drafts.get((proposal.proposal_type, proposal.target_variant))
        if draft is not None and _is_worth_it(draft, waiting.proposal):
            self._update(waiting, draft)
        return waiting

    def _take_reviews(self, waiting: Waiting) -> bool:
        """Revise a proposal by its new reviews; return whether one of them closes it."""
        for review in self._new_reviews(waiting):
            waiting.review = review.command_id
            if review.review == "deferred":
                until = f" until {review.until}" if review.until else ""
                reason = f"deferred{until}" + (f": {review.reason}" if review.reason else "")
                self._revise(waiting, "deferred", reason, actor=review.actor, deferred_until=review.until)
                continue
            self._revise(waiting, review.review, review.reason, actor=review.actor)
            if review.review == "rejected":
                self._remember(waiting.proposal, 2.0)
            else:
                self._carry(waiting.proposal)
                if waiting.proposal.change.action == "enforce":
                    # The policy is changed after the review; until then, the evidence for the proposal remains.
                    self._quieten(waiting.proposal, 1.5)
            return True
        return False

    def _lapse(self, proposal: Proposal) -> str | None:
        """Return why an open proposal no longer applies; None if it still does."""
        snapshot, target = self.snapshot, proposal.target_variant
        if proposal.filing is not None:
            return filed_proposals.lapse(snapshot, proposal)
        if snapshot.epoch != proposal.epoch:
            now = snapshot.active_variant or "nothing"
            return f"made for epoch {proposal.epoch}; {now} has since become active (epoch {snapshot.epoch})"
        for filed in snapshot.filed:
            if filed.change.variant_id == target:
                return f"{filed.filing.actor} has proposed {target} as {filed.proposal_id}"
        if self.view is None:
            return None
        return RULE_OF[proposal.proposal_type].lapse(self.view, target, proposal.trigger)

    def _remember(self, proposal: Proposal, growth: float = 1.5) -> None:
        """Remember that what is closed must not be proposed again yet: evidence must first grow by ``growth``."""
        if proposal.filing is None:
            self._quieten(proposal, growth)
        elif any(filed.proposal_id == proposal.proposal_id for filed in self.snapshot.filed):
            self.row.closed.append(proposal.proposal_id)

    def _follow(self, waiting: Waiting) -> None:
        """Move a filed proposal into a new epoch: what it would register does not depend on the active variant."""
        old, epoch, view = waiting.proposal, self.snapshot.epoch, self.view
        filed = next(one for one in self.snapshot.filed if one.proposal_id == old.proposal_id)
        if old.epoch != epoch and view is not None:
            self._revise(
                waiting,
                old.status,
                f"{view.active.variant_id} is active now (epoch {epoch})",
                deferred_until=old.deferred_until,
                epoch=epoch,
                **_claim(self._filed(filed)),
            )

    def _new_reviews(self, waiting: Waiting) -> Iterator[ReviewResult]:
        """Return the applied reviews of a proposal since the last one that was taken into account."""
        wanted = waiting.proposal.proposal_id
        found = [r for r in self.snapshot.reviews if r.proposal_id == wanted and r.outcome == "applied"]
        last = next((at for at, review in enumerate(found) if review.command_id == waiting.review), -1)
        yield from found[last + 1 :]

    def _quieten(self, proposal: Proposal, growth: float) -> None:
        """Remember how many outcomes the same change needs to be proposed again: ``growth`` times those so far."""
        row, key = self.row, (proposal.proposal_type, proposal.target_variant)
        draft = self.drafts.get(key)
        n = max(int(proposal.supporting_data["n_invocations"]), draft.n if draft is not None else 0)
        row.quiet = [q for q in row.quiet if (q.proposal_type, q.target) != key]
        row.quiet.append(Quiet(*key, math.ceil(n * growth)))
        unmade = [q for q in row.quiet if q.proposal_type in _MAKING]
        if len(unmade) > _REMEMBERED:
            row.quiet.remove(unmade[0])

    def _carry(self, proposal: Proposal) -> None:
        """Remember the modifications of a variant that an approval has registered."""
        change, carried = proposal.change, self.row.carried
        if change.action == "register":
            own = [digest(one) for one in change.modifications]
            carried[change.variant_id] = [*carried.get(change.parent or "", []), *own]

    def _reach(self, change: Change) -> dict[str, Any]:
        """Return what an approval would reach, and what became of the last change of its kind."""
        kind = _KIND_OF_CHANGE[change.action]
        last = next((one for one in self.snapshot.last_times if one.change == kind), None)
        return {"touches": self.snapshot.touches, "last_time": last, "undo_command": undo_of(self.snapshot, change)}

    # -- what is published -------------------------------------------------------------------------
    def _open(self, name: ProposalType, draft: Draft, filed: FiledProposal | None = None) -> Proposal:
        row, snapshot = self.row, self.snapshot
        assert self.view is not None
        now = to_text(row.time)
        filing = None if filed is None else filed.filing
        task = f"{row.agent_name}/{row.task_type}"
        proposal = Proposal(
            # The id includes the log position at which the proposal was made, so even a proposer that has lost its
            # rows never uses an id twice.
            proposal_id=fact_id("prop", row.time, task, name, draft.target, row.incarnation, row.offset)
            if filed is None
            else filed.proposal_id,
            timestamp=now if filed is None else filed.timestamp,
            agent_name=row.agent_name,
            task_type=row.task_type,
            proposal_type=name,
            status="pending",
            tracker_type=f"crl_{name}",
            target_variant=draft.target,
            epoch=snapshot.epoch,
            revision=1,
            expires_at=to_text(row.time + self.view.limits.expires_days * _DAY) if filed is None else filed.expires_at,
            history=[
                Revision(
                    revision=1,
                    status="pending",
                    timestamp=now,
                    reason=draft.evidence,
                    actor=None if filing is None else filing.actor,
                )
            ],
            filing=filing,
            position=snapshot.as_of,
            engine_version=ENGINE_VERSION,
            **self._reach(draft.change),
            **_claim(draft),
        )
        self.published.append(proposal)
        return proposal

    def _update(self, waiting: Waiting, draft: Draft) -> None:
        old = waiting.proposal
        self._revise(
            waiting,
            old.status,
            f"new evidence: {draft.evidence}",
            deferred_until=old.deferred_until,
            **_claim(draft),
        )

    def _revise(
        self,
        waiting: Waiting,
        status: ProposalStatus,
        reason: str,
        *,
        actor: str | None = None,
        deferred_until: str | None = None,
        **changes: Any,
    ) -> None:
        """Publish the next revision of a proposal."""
        old, row = waiting.proposal, self.row
        revision = Revision(
            revision=old.revision + 1, status=status, timestamp=to_text(row.time), reason=reason, actor=actor
        )
        waiting.proposal = msgspec.structs.replace(
            old,
            status=status,
            revision=revision.revision,
            history=[*old.history, revision][-_HISTORY:],
            position=self.snapshot.as_of,
            engine_version=ENGINE_VERSION,
            deferred_until=deferred_until,
            **(self._reach(old.change) if status in OPEN_STATUSES else {}),
            **changes,
        )
        self.published.append(waiting.proposal)


_MAKING: Final = frozenset(rule.name for rule in RULES if rule.makes)
"""Types of proposals whose target is the id of a variant that does not exist yet."""


_KIND_OF_CHANGE: Final = {
    "register": "registration",
    "activate": "promotion",
    "retire": "retirement",
    "enforce": "rollback",
}
"""The kind of past change that tells most about an approval, by its action."""


def undo_of(snapshot: TaskSnapshot, change: Change) -> str:
    """Return the command that undoes the change of a proposal after its approval."""
    task, limits = f"{snapshot.agent_name}/{snapshot.task_type}", snapshot.proposal_limits
    if change.action == "activate":
        staged = limits is not None and limits.staged
        return f"crl rollout abort {task}" if staged else f"crl undo {task} --epoch {snapshot.epoch + 1}"
    return {
        "register": f"crl retire {task} {change.variant_id}",
        "retire": f"crl register {task} {change.variant_id}",
        "enforce": "crl policy apply",  # with settings that do not enforce it; the approval changes no file
    }[change.action]


def _claim(draft: Draft) -> dict[str, Any]:
    """Return the fields of a proposal that depend on its evidence."""
    return {
        "trigger": draft.trigger,
        "reasoning": draft.reasoning,
        "confidence": draft.confidence,
        "supporting_data": {
            "n_invocations": float(draft.n),
            "avg_q_default": round(draft.q_default, 6),
            "potential_improvement": round(draft.improvement, 6),
            "variance": round(draft.variance, 6),
            **(draft.figures or {}),
        },
        "recommended_modifications": draft.modifications,
        "change": draft.change,
    }


def _least(counted: list[Waiting]) -> Waiting:
    """Return the least confident proposal, and of equals the newest."""
    return min(counted, key=lambda one: (one.proposal.confidence, -one.proposal.position.offset))


def _is_worth_it(draft: Draft, old: Proposal) -> bool:
    """Return whether the change is worth showing to a reviewer as a new revision."""
    before = int(old.supporting_data["n_invocations"])
    if 2 * draft.n >= 3 * before:
        return draft.n > before
    changed = draft.trigger != old.trigger or draft.confidence != old.confidence
    return changed and 10 * draft.n >= 11 * before
