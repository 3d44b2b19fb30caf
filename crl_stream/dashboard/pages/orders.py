"""What a person can do from a page: the dialog, the command as one would type it, and what is sent.

An order's ``body`` is what the script posts; the server makes the command of it, with an id, times and the actor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.pages.phrases import plural

Ask = Literal["reason", "hours", "until", "variant"]
HOURS: Final = 4
"""Hours that a dialog proposes for a hold or a pin."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a person can do."""

    name: str
    """Unique within a page; also names the dialog."""
    label: str
    """The button that opens the dialog."""
    title: str
    confirm: str
    """The button that sends the command."""
    tone: Literal["", "primary", "danger"] = "primary"
    effects: list[tuple[str, str, str]] = []
    """What happens: icon, colour and sentence."""
    note: str = ""
    """When the command will be refused."""
    command: str
    """The command line, without what the dialog asks for."""
    body: Mapping[str, Any]
    """What is posted, without what the dialog asks for."""
    asks: tuple[Ask, ...] = ("reason",)
    choices: list[str] = []
    """The variants to choose from, if ``asks`` has ``variant``."""
    hint: str = ""
    """One sentence beside the button."""
    icon: str = ""
    key: str = ""
    """The key that opens the dialog."""


def about(key: TaskKey, command: type[m.TaskCommand], **fields: Any) -> dict[str, Any]:
    """Return the body of a command about one task."""
    given = {name: value for name, value in fields.items() if value is not None}
    return {"command": command.__name__, "agent_name": key.agent_name, "task_type": key.task_type} | given


def stop_all(fleet: Fleet) -> Order:
    """Hold the whole fleet."""
    return Order(
        name="hold-all",
        label="Stop all…",
        title="Stop automatic changes for every task?",
        confirm="Stop all",
        tone="danger",
        effects=[
            (
                "pause",
                "",
                f"Nothing automatic happens in {plural(len(fleet.tasks), 'task')}, or in a task that is new.",
            ),
            ("warn", "warn", "Rollbacks stop too: a variant that collapses stays active until a person acts."),
            ("eye", "", "Alerts continue and name you. The hold ends after these hours, or when someone resumes."),
        ],
        command="crl hold --all",
        body={"command": "HoldAll"},
        asks=("reason", "hours"),
        icon="pause",
    )


def resume_all() -> Order:
    """End the hold of the fleet."""
    return Order(
        name="resume-all",
        label="Resume all…",
        title="Resume automatic changes for every task?",
        confirm="Resume all",
        effects=[
            ("check", "", "Rollbacks and promotions happen again, with the next outcome of each task."),
            ("pause", "", "Tasks with their own hold stay held."),
        ],
        command="crl resume --all",
        body={"command": "ResumeAll"},
    )


def undo(event: m.RollbackEvent, last_time: str = "", name: str = "undo") -> Order:
    """Take the latest rollback back; ``last_time`` says what became of the one before."""
    key = TaskKey(event.agent_name, event.task_type)
    return Order(
        name=name,
        label="Undo…",
        title=f"Undo the rollback of {key}?",
        confirm="Undo the rollback",
        tone="danger",
        effects=[
            ("undo", "", f"{event.from_variant} becomes active again, epoch {event.epoch + 1}, and leaves quarantine."),
            ("pause", "", "Automatic changes of this task are held for a while, rollbacks too (policy: undo_hold)."),
            ("warn", "warn", f"It was rolled back because: {event.reason}."),
            *([("clock", "", last_time)] if last_time else []),
        ],
        note=f"Refused if the epoch is no longer {event.epoch}.",
        command=event.undo_command,
        body=about(key, m.UndoRollback, expected_epoch=event.epoch, rollback_id=event.rollback_id),
        hint=f"{event.from_variant} becomes active again. Nothing automatic happens for a while.",
        icon="undo",
    )


def confirm(event: m.RollbackEvent) -> Order:
    """Mark a rollback as reviewed."""
    key = TaskKey(event.agent_name, event.task_type)
    return Order(
        name="confirm",
        label="Confirm…",
        title="Confirm this rollback?",
        confirm="Confirm",
        effects=[("check", "", f"It counts as reviewed. {event.from_variant} stays in quarantine until it is lifted.")],
        command=f"crl confirm {event.rollback_id}",
        body=about(key, m.ConfirmRollback, rollback_id=event.rollback_id),
        hint=f"Marks it reviewed. {event.from_variant} stays in quarantine.",
        icon="check",
    )


def hold(key: TaskKey) -> Order:
    """Hold one task."""
    return Order(
        name="hold",
        label="Hold…",
        title=f"Hold {key}?",
        confirm="Hold",
        tone="danger",
        effects=[
            ("pause", "", "Nothing automatic happens until these hours are over, or someone resumes the task."),
            ("warn", "warn", "Not even a rollback: a variant that collapses stays active. Alerts name you."),
        ],
        command=f"crl hold {key}",
        body=about(key, m.HoldTask),
        asks=("reason", "hours"),
        hint="Nothing automatic happens, not even a rollback.",
        icon="pause",
    )


def resume(key: TaskKey, held: m.Order, name: str = "resume") -> Order:
    """End the hold of one task."""
    return Order(
        name=name,
        label="Resume…",
        title=f"Resume {key}?",
        confirm="Resume",
        effects=[
            ("check", "", "Rollbacks and promotions happen again, with the task's next outcome."),
            ("person", "", f"{held.actor} holds it: {held.reason or 'no reason given'}"),
        ],
        command=f"crl resume {key}",
        body=about(key, m.ResumeTask),
        hint="Ends the hold of this task.",
    )


def pin(key: TaskKey, variant_id: str, epoch: int) -> Order:
    """Pin the active variant."""
    return Order(
        name="pin",
        label=f"Pin {variant_id}…",
        title=f"Pin {variant_id}?",
        confirm="Pin",
        effects=[("pin", "", f"Nothing is promoted over {variant_id}. A rollback still protects the task.")],
        note=f"Refused if the epoch is no longer {epoch}.",
        command=f"crl pin {key} {variant_id} --epoch {epoch}",
        body=about(key, m.PinVariant, variant_id=variant_id, expected_epoch=epoch),
        asks=("reason", "hours"),
        hint="No promotion; a rollback still protects.",
        icon="pin",
    )


def unpin(key: TaskKey, pinned: m.Order) -> Order:
    """End a pin."""
    return Order(
        name="unpin",
        label="Unpin…",
        title=f"End the pin of {pinned.variant_id}?",
        confirm="Unpin",
        effects=[
            ("up", "", "A better variant can be promoted again."),
            ("person", "", f"{pinned.actor} pinned it: {pinned.reason or 'no reason given'}"),
        ],
        command=f"crl unpin {key}",
        body=about(key, m.UnpinVariant),
        hint="A better variant can be promoted again.",
    )


def activate(key: TaskKey, choices: list[str], epoch: int) -> Order:
    """Make another variant the active one."""
    return Order(
        name="activate",
        label="Activate another…",
        title=f"Activate another variant of {key}?",
        confirm="Activate",
        tone="danger",
        effects=[
            ("right", "", f"Runtimes use it with their next invocation; epoch {epoch} becomes {epoch + 1}."),
            ("undo", "", f"To take it back: crl undo {key}"),
        ],
        note=f"Refused if the epoch is no longer {epoch}.",
        command=f"crl activate {key} VARIANT --epoch {epoch}",
        body=about(key, m.ActivateVariant, expected_epoch=epoch),
        asks=("variant", "reason"),
        choices=choices,
        hint="Runtimes use it with their next invocation.",
    )


def approve(proposal: m.Proposal, effects: list[str]) -> Order:
    """Approve a proposal."""
    return _review(proposal, m.ApproveProposal, "approve", "Approve", "a", [("check", "", line) for line in effects])


def reject(proposal: m.Proposal) -> Order:
    """Reject a proposal."""
    text = "It is not proposed again until its evidence has doubled. Your reason is kept."
    return _review(proposal, m.RejectProposal, "reject", "Reject", "r", [("minus", "", text)])


def defer(proposal: m.Proposal) -> Order:
    """Postpone a proposal."""
    text = "It stays in the queue as deferred; it can still be approved or rejected."
    return _review(proposal, m.DeferProposal, "defer", "Defer", "d", [("clock", "", text)])


def _review(
    proposal: m.Proposal,
    kind: type[m.TaskCommand],
    verb: str,
    label: str,
    key: str,
    effects: list[tuple[str, str, str]],
) -> Order:
    task = TaskKey(proposal.agent_name, proposal.task_type)
    return Order(
        name=f"{verb}-{proposal.proposal_id}",
        label=f"{label}…",
        title=f"{label} {proposal.proposal_id}?",
        confirm=label,
        tone="primary" if verb == "approve" else "",
        effects=effects,
        command=f"crl proposals {verb} {proposal.proposal_id}",
        body=about(task, kind, proposal_id=proposal.proposal_id, revision=proposal.revision),
        asks=("reason", "until") if verb == "defer" else ("reason",),
        key=key,
    )
