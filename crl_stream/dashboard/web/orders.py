"""Commands that a person may send from a page, as JSON, and the monitor's answer.

``POST BASE/commands`` with ``{"command": "UndoRollback", "agent_name", "task_type", ..., "reason"}``: the name of a
command of ``crl.commands`` and its fields, without those that the server fills in: id, times and actor.  ``HoldAll``
and ``ResumeAll`` have no task.  ``ApproveProposal`` names only the proposal, and ``revision`` if it must be the one
that was shown; the server adds the exact change.

The answer is that of the monitor, ``{"outcome": "applied"|"refused", "detail", "result"}``, with status 200 or 409.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import structs

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey, is_identifier
from crl_stream.core.messages.parts import STOPS
from crl_stream.core.messages.snapshots import OPEN_STATUSES
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.web.access import Refusal
from crl_stream.errors import CommandRefused, CrlError, UsageError
from crl_stream.kafka.commands import check_reason, fleet_command, give, give_all, task_command
from crl_stream.kafka.fleet_orders import PUT_BACK, answer_document, answer_summary, answer_trouble, valid_hours
from crl_stream.kafka.session import Access
from crl_stream.proposals.standing import status_at
from crl_stream.wire.strict_json import Bad, parse_object

TASK_FIELDS: Final[Mapping[type[Any], tuple[str, ...]]] = {
    m.UndoRollback: ("expected_epoch", "rollback_id"),
    m.ConfirmRollback: ("rollback_id",),
    m.HoldTask: ("hours",),
    m.ResumeTask: (),
    m.PinVariant: ("expected_epoch", "variant_id", "hours"),
    m.UnpinVariant: (),
    m.ActivateVariant: ("expected_epoch", "variant_id", "untested"),
    m.RegisterVariant: (
        *("variant_id", "parent", "provider", "model", "model_tier", "temperature", "configuration", "ref"),
    ),
    m.RetireVariant: ("variant_id",),
    m.LiftQuarantine: ("variant_id",),
    m.AcceptLevel: ("variant_id",),
    m.StartRollout: ("expected_epoch", "variant_id", "stages", "min_outcomes"),
    m.PauseRollout: ("rollout_id",),
    m.ResumeRollout: ("rollout_id",),
    m.PromoteRollout: ("rollout_id", "stage", "full"),
    m.AbortRollout: ("rollout_id",),
    m.ApproveProposal: ("proposal_id", "revision"),
    m.RejectProposal: ("proposal_id", "revision"),
    m.DeferProposal: ("proposal_id", "revision", "until"),
}
"""The commands about one task and the fields that a page may give."""
FLEET_FIELDS: Final[Mapping[type[Any], tuple[str, ...]]] = {m.HoldAll: ("hours", "stops"), m.ResumeAll: ()}
FIELDS: Final = {**TASK_FIELDS, **FLEET_FIELDS}
KINDS: Final = {kind.__name__: kind for kind in FIELDS}
REVIEWS: Final = (m.ApproveProposal, m.RejectProposal, m.DeferProposal)
NEEDS_EPOCH: Final = (m.UndoRollback, m.ActivateVariant, m.PinVariant, m.StartRollout)
"""Commands that are meant for the state that the person saw."""
MOST_REASON: Final = 2_000
"""Characters that a reason may have, as the commands themselves say."""
ANSWER_SECONDS: Final = 20.0


class Ordered(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command."""

    outcome: str
    """``applied`` or ``refused``."""
    detail: str
    """The monitor's sentence."""
    result: Any
    """The monitor's ``CommandResult``, or the document of ``crl hold --all --json``; None if it was refused."""


def read_order(body: bytes) -> dict[str, Any]:
    """Return the fields of a command; refuse it if it is not JSON, or is none that a page may send."""
    found = parse_object(body)
    if isinstance(found, Bad):
        raise Refusal(400, "The command is not a JSON object.", "reload the page")
    name = found.get("command")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise Refusal(400, "There is no such command.", f"one of {', '.join(KINDS)}")
    allowed = {"command", "reason", *FIELDS[kind]}
    allowed |= {"agent_name", "task_type"} if kind in TASK_FIELDS else set()
    if set(found) - allowed:
        raise Refusal(400, "The command has an unknown field.", f"allowed: {sorted(allowed)}")
    reason = found.get("reason", "")
    if not isinstance(reason, str):
        raise Refusal(400, "The reason of a command is a text.", "write why, or leave it out")
    try:
        check_reason(kind, reason)
    except UsageError as error:
        raise Refusal(400, error.message, "write why") from None
    if len(reason.strip()) > MOST_REASON:
        length = f"{len(reason.strip()):,} characters"
        raise Refusal(400, f"The reason has {length}, and at most {MOST_REASON:,} are allowed.", "shorten it")
    return found


def make_command(fleet: Fleet, order: Mapping[str, Any], actor: str, now: int) -> Any:
    """Return the command for the fields that were read; refuse one about an unknown task or proposal."""
    kind = KINDS[order["command"]]
    fields = {name: value for name in FIELDS[kind] if (value := order.get(name)) is not None}
    fields["reason"] = order.get("reason", "").strip()
    if kind in FLEET_FIELDS:
        if fields.get("stops", "all") not in (*STOPS,):  # workers would stop everything
            raise Refusal(
                400, "The field stops of the command has an invalid value.", f"one of {', '.join(sorted(STOPS))}"
            )
        return _checked(fleet_command(kind, valid_hours=valid_hours(kind, fields.get("hours")), actor=actor, **fields))
    agent_name, task_type = order.get("agent_name"), order.get("task_type")
    if not all(isinstance(name, str) and is_identifier(name) for name in (agent_name, task_type)):
        raise Refusal(400, "The command names no task.", "agent_name and task_type")
    key = TaskKey(str(agent_name), str(task_type))
    if key not in fleet.tasks:
        raise Refusal(404, "The task is not known.", "crl status lists all tasks")
    if kind in REVIEWS:
        fields |= _of_proposal(fleet, key, kind, fields, now)
    if kind in NEEDS_EPOCH and "expected_epoch" not in fields:
        raise Refusal(400, "The command does not say which epoch it is meant for.", "expected_epoch")
    for one in structs.fields(kind):
        if one.required and one.name in FIELDS[kind] and one.name not in fields:
            raise Refusal(400, f"The field {one.name} of the command is missing.", "fill it in, or reload the page")
    return _checked(task_command(kind, key, actor=actor, **fields))


def _of_proposal(fleet: Fleet, key: TaskKey, kind: type[Any], fields: dict[str, Any], now: int) -> dict[str, Any]:
    """Return what a review says about its proposal: an approval carries exactly the change that was shown."""
    proposal = fleet.proposals.get(str(fields.get("proposal_id")))
    if proposal is None or (proposal.agent_name, proposal.task_type) != key:
        raise Refusal(404, "The proposal is not known.", "crl proposals list shows the open ones")
    revision = fields.pop("revision", None)
    if revision is not None and revision != proposal.revision:
        raise Refusal(409, "The proposal has changed since the page was made.", "look at it again")
    if status_at(proposal, now) not in OPEN_STATUSES:
        raise Refusal(409, "The proposal is no longer open.", "reload the page")
    if kind is not m.ApproveProposal:
        return {}
    if proposal.change.action == "enforce":
        raise Refusal(
            409,
            "This approval changes the policy, which a page cannot do.",
            f"crl proposals approve {proposal.proposal_id}",
        )
    return {
        "change": proposal.change,
        "expected_epoch": proposal.epoch,
        "valid_until": proposal.expires_at,
        "proposal_type": proposal.proposal_type,
    }


def _checked(command: Any) -> Any:
    """Return the command if its fields have the right types and ranges."""
    try:
        return msgspec.convert(msgspec.to_builtins(command), type(command))
    except msgspec.ValidationError as error:
        # Only the field is named: what was sent is not repeated.
        name = re.search(r"at `\$\.(\w+)", str(error))
        which = f"The field {name[1]}" if name is not None else "A field"
        raise Refusal(400, f"{which} of the command has an invalid value.", "correct it, or reload the page") from None


async def carry_out(access: Access, command: Any, timeout: float = ANSWER_SECONDS) -> Ordered:
    """Send a command and return the monitor's answer; refuse it if there is no answer."""
    try:
        if isinstance(command, m.FleetCommand):
            answer = await give_all(access, command, timeout)
            if (trouble := answer_trouble(command, answer, timeout)) is not None:
                raise trouble
            body = answer_document(command, answer)
            detail = answer_summary(command, answer)
            if isinstance(command, m.HoldAll):
                detail = f"{detail}. {PUT_BACK}"
            return Ordered(outcome="applied", detail=detail, result=body)
        result = await give(access, command, timeout)
        return Ordered(outcome="applied", detail=result.detail, result=result)
    except CommandRefused as refused:
        return Ordered(outcome="refused", detail=refused.message, result=None)
    except UsageError:
        raise Refusal(400, "That is not a valid command.", "reload the page") from None
    except CrlError as error:
        raise Refusal(503, error.message, error.hint or "") from None
