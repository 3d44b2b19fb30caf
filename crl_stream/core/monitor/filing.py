"""Proposals that are filed from outside with ``ProposeVariant``, until a person decides.

The monitor checks a candidate before a reviewer sees it, so that people are not asked to approve what would be refused.
The open ones are kept with the task and listed in its snapshot, from which the proposer publishes them like its own.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.drills import is_drill
from crl_stream.core.ids import content_digest
from crl_stream.core.instant import to_text
from crl_stream.core.monitor.refusal import Refused, known
from crl_stream.core.monitor.registration import configuration_of, too_large
from crl_stream.core.monitor.row import SEEN, Declined, Filed, Filings, TaskRow
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.variants import has_room

MAX_OPEN: Final = 4
"""How many filed proposals of a task may wait for a review at the same time."""
MAX_FILED: Final = 24_576
"""Maximum bytes of a filed proposal as JSON: its change, and what its source says about it."""
MAX_NESTED: Final = 12
"""Maximum nesting of a candidate: an approval wraps it in more objects, and messages have at most 16 levels."""
_REMEMBERED: Final = 16
"""How many rejected candidates are remembered."""
_DAY: Final = 86_400_000
_DECODER: Final = msgspec.json.Decoder(m.FiledProposal)


def file_proposal(turn: Turn, command: m.ProposeVariant) -> str:
    """Keep the candidate as an open proposal; raise ``Refused`` if it could not be approved anyway."""
    row = turn.row
    change = m.Change(
        action="register",
        **{name: getattr(command, name) for name in m.Change.__struct_fields__ if name != "action"},
    )
    _check_candidate(turn, command, change)
    open_ = still_open(row)
    if len(open_) >= MAX_OPEN:
        raise Refused(
            f"{MAX_OPEN} filed proposals of the task are open already, which is the limit; review one first: "
            f"crl proposals list --agent {row.agent_name}"
        )
    digest, n = _digest(change), _claimed(command.evidence)
    declined = () if row.filings is None else row.filings.declined
    for past in declined:
        if past.digest == digest and n < max(1, 2 * past.n):
            raise Refused(_declined(row, past, command.variant_id))
    proposal_id = turn.identify("prop", "filed", command.variant_id)
    expires = row.time + turn.policy.proposals.expires_days * _DAY
    content = _content(turn, command, change, proposal_id, expires)
    filed = Filed(proposal_id, command.variant_id, expires, content)
    row.filings = Filings([*open_, filed], list(declined))
    return f"{command.variant_id} is proposed as {proposal_id}; a person decides: crl proposals show {proposal_id}"


def _check_candidate(turn: Turn, command: m.ProposeVariant, change: m.Change) -> None:
    """Raise ``Refused`` if the candidate could not be registered as it is."""
    row, name = turn.row, command.variant_id
    if is_drill(row.agent_name):
        raise Refused(f"{row.agent_name} is reserved for drills; propose a variant for another agent")
    if row.active is None:
        raise Refused(f"no variant of the task is active yet; register it instead: crl register {row.key} {name}")
    if command.parent is not None:
        known(turn, command.parent)
    if is_taken(row, name):
        raise Refused(f"{name} already exists; choose a new variant_id")
    for filed in still_open(row):
        if filed.variant_id == name:
            raise Refused(f"{name} is already proposed as {filed.proposal_id}; review that first, or choose a new name")
    _check_values(name, change)
    if why := too_large(row, name, configuration_of(change)):
        raise Refused(why)
    if not has_room(turn, name):
        limit = turn.policy.limits.variants
        raise Refused(f"the task already has {len(row.variants)} variants (limit {limit}); retire one first")


def _check_values(name: str, change: m.Change) -> None:
    """Raise ``Refused`` if the proposer could not keep the change, or no approval could carry it."""
    if _depth(change.configuration) > MAX_NESTED or any(_depth(one.value) > MAX_NESTED for one in change.modifications):
        raise Refused(f"the configuration or a modification of {name} is nested deeper than {MAX_NESTED} levels")
    try:
        msgspec.msgpack.encode(change)
    except OverflowError:
        raise Refused(f"a number of {name} needs more than 64 bits; write it as text") from None


def _depth(value: Any) -> int:
    """Return how deeply a JSON value is nested; 0 for a text, a number or nothing."""
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _content(turn: Turn, command: m.ProposeVariant, change: m.Change, proposal_id: str, expires: int) -> bytes:
    filed = m.FiledProposal(
        proposal_id=proposal_id,
        timestamp=to_text(turn.row.time),
        expires_at=to_text(expires),
        change=change,
        filing=m.Filing(
            command_id=command.command_id,
            actor=command.actor,
            source=command.source,
            reason=command.reason,
            evidence=command.evidence,
        ),
    )
    content = msgspec.json.encode(filed)
    if len(content) > MAX_FILED:
        raise Refused(
            f"the proposal of {command.variant_id} takes {len(content)} bytes; it may take {MAX_FILED}; keep long "
            "prompts and reports elsewhere, and give a ref and a url"
        )
    return content


def is_taken(row: TaskRow, variant_id: str) -> bool:
    """Return whether the id names a variant that was registered or has live outcomes; shadow outcomes do not count."""
    variant = row.variants.get(variant_id)
    return variant is not None and (variant.state != SEEN or variant.life.n > 0)


def still_open(row: TaskRow) -> list[Filed]:
    """Return the filed proposals that can still be approved: not expired, and their variant does not exist yet."""
    if row.filings is None:
        return []
    return [one for one in row.filings.open if row.time <= one.expires and not is_taken(row, one.variant_id)]


def forget_closed(row: TaskRow) -> None:
    """Drop the filed proposals that can no longer be approved."""
    if row.filings is not None:
        row.filings.open = still_open(row)


def check_approval(row: TaskRow, command: m.ApproveProposal, *, four_eyes: bool) -> None:
    """Raise ``Refused`` if a filed proposal is approved with another change than the one that was filed.

    With ``four_eyes``, also if it is approved by the person or program that filed it.
    """
    for filed in [] if row.filings is None else row.filings.open:
        if filed.proposal_id != command.proposal_id:
            continue
        proposal = proposal_in(filed)
        if four_eyes and _person(proposal.filing.actor) == _person(command.actor):
            raise Refused(
                f"{command.proposal_id} was filed by {proposal.filing.actor}, so somebody else must approve it "
                "(review.four_eyes)"
            )
        if proposal.change != command.change:
            raise Refused(
                f"{command.proposal_id} was filed with another change; approve exactly what crl proposals show shows"
            )


def _person(actor: str) -> str:
    """Return the name that a person has in a terminal and in a browser, where ``web:`` precedes it."""
    return actor.removeprefix("web:").casefold()


def close_reviewed(row: TaskRow, command: Any) -> None:
    """Drop a filed proposal that was approved or rejected, and remember what was rejected."""
    if row.filings is None or isinstance(command, m.DeferProposal):
        return
    for filed in row.filings.open:
        if filed.proposal_id == command.proposal_id:
            row.filings.open = [one for one in row.filings.open if one is not filed]
            if isinstance(command, m.RejectProposal):
                proposal = proposal_in(filed)
                past = Declined(_digest(proposal.change), _claimed(proposal.filing.evidence), filed.proposal_id)
                row.filings.declined = [*row.filings.declined, past][-_REMEMBERED:]
            return


def proposal_in(filed: Filed) -> m.FiledProposal:
    """Return the proposal that the row keeps as JSON."""
    return _DECODER.decode(filed.content)


def _digest(change: m.Change) -> bytes:
    """Return the digest of a candidate: its name and everything that an approval would register."""
    return content_digest(msgspec.json.encode(change, order="sorted"))


def _claimed(evidence: m.CandidateEvidence | None) -> int:
    return 0 if evidence is None or evidence.n is None else evidence.n


def _declined(row: TaskRow, past: Declined, name: str) -> str:
    """Return who rejected the same candidate, and what could be proposed instead."""
    review = next(
        (one for one in row.reviews if one.proposal_id == past.proposal_id and one.outcome == "applied"), None
    )
    who = "" if review is None else f" by {review.actor}" + (f": {review.reason}" if review.reason else "")
    more = f"at least {max(1, 2 * past.n)} examples as evidence (n)"
    return (
        f"{name} was proposed exactly like this as {past.proposal_id} and rejected{who}; change it, propose it under a "
        f"new name, or give {more}"
    )
