"""What a person can do from a page: the dialog, the command as one would type it, and what is sent.

An order's ``body`` is what the script posts; the server makes the command of it, with an id, times and the actor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import Operations
from crl_stream.core.reach import together, touched, touches_words
from crl_stream.core.way_back import way_back
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.pages.phrases import plural
from crl_stream.kafka.commands import NEEDS_REASON

Ask = Literal["reason", "hours", "until"]
HOLD: Final = f"Empty: as long as operations.hold_hours says, {Operations().hold_hours:g} unless the policy changes it."
PIN: Final = f"Empty: as long as operations.pin_hours says, {Operations().pin_hours:g} unless the policy changes it."


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a dialog asks for besides the reason; what is left empty is not sent."""

    name: str
    """The field of the command."""
    label: str
    kind: Literal["text", "number", "choice", "shares", "json", "switch", "radio"] = "text"
    """``shares`` are percentages with commas between them; a ``switch`` is sent only if it is on."""
    options: list[tuple[str, str, str, str]] = []
    """For ``radio``: value, label, explanation and flag of each; the first is chosen at first."""
    hint: str = ""
    word: str = ""
    """What the field replaces in the command line; without it, ``flag`` and the value are added."""
    flag: str = ""
    choices: list[str] = []
    required: bool = False


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
    touches: str
    """What it touches, as a sentence."""
    back: str
    """How it is undone, as a sentence with the exact command; or that it cannot be undone."""
    note: str = ""
    """When the command will be refused."""
    command: str
    """The command line, without what the dialog asks for."""
    body: Mapping[str, Any]
    """What is posted, without what the dialog asks for."""
    asks: tuple[Ask, ...] = ("reason",)
    fields: list[Field] = []
    needs_reason: bool = False
    """Whether the command is refused without a reason, here as in a terminal."""
    hours: str = ""
    """What happens if the hours are left empty."""
    hint: str = ""
    """One sentence beside the button."""
    icon: str = ""
    key: str = ""
    """The key that opens the dialog."""


def about(key: TaskKey, command: type[m.TaskCommand], **fields: Any) -> dict[str, Any]:
    """Return the body of a command about one task."""
    given = {name: value for name, value in fields.items() if value is not None}
    return {"command": command.__name__, "agent_name": key.agent_name, "task_type": key.task_type} | given


def stop_all(fleet: Fleet, held: m.Order | None = None) -> Order:
    """Hold the whole fleet; ``held`` is the hold that is in force, which the new one replaces."""
    options = [
        (
            "promotions",
            "Promotions only",
            "Nothing new becomes active. A variant that collapses is still rolled back.",
            "--promotions-only",
        ),
        (
            "all",
            "Everything automatic, rollbacks too",
            "As crl hold --all without --promotions-only: a variant that collapses stays active. For a broken judge.",
            "",
        ),
    ]
    now = list[tuple[str, str, str]]()
    if held is not None:
        what = "everything automatic, rollbacks too" if held.stops == "all" else "promotions only"
        now = [
            ("person", "", f"{held.actor} has stopped {what}: {held.reason or 'no reason given'}. This replaces it.")
        ]
    if held is not None and held.stops == "all":
        options.reverse()  # what is chosen at first must not weaken what is in force
        now.append(("warn", "warn", "With promotions only, rollbacks happen again."))
    return Order(
        name="hold-all",
        label="Stop all…",
        title="Stop automatic changes for every task?",
        confirm="Stop",
        tone="danger",
        effects=[
            (
                "pause",
                "",
                f"One command for {plural(len(fleet.tasks), 'task')}, and for those that are new. Alerts continue.",
            ),
            ("clock", "", "It ends after the hours below, or when someone resumes."),
            *now,
        ],
        touches=_of_fleet(fleet),
        back=way_back("HoldAll"),
        command="crl hold --all",
        body={"command": "HoldAll"},
        fields=[
            Field(
                name="stops",
                label="What should stop",
                kind="radio",
                options=options,
            )
        ],
        asks=("reason", "hours"),
        hours=HOLD,
        icon="pause",
    )


def resume_all(fleet: Fleet, held: m.Order | None = None) -> Order:
    """End the hold of the fleet, of either strength."""
    what = "Promotions" if held is not None and held.stops == "promotions" else "Rollbacks and promotions"
    return Order(
        name="resume-all",
        label="Resume all…",
        title="Resume automatic changes for every task?",
        confirm="Resume all",
        effects=[
            ("check", "", f"{what} happen again, with the next outcome of each task."),
            *([] if held is None else [("person", "", f"{held.actor} stopped it: {held.reason or 'no reason given'}")]),
            ("pause", "", "Tasks with their own hold stay held."),
        ],
        touches=_of_fleet(fleet),
        back=way_back("ResumeAll"),
        command="crl resume --all",
        body={"command": "ResumeAll"},
    )


def _of_fleet(fleet: Fleet) -> str:
    found = together((task.touches for task in fleet.tasks.values()), fleet=True)
    return touched(touches_words(found))


def undo(event: m.RollbackEvent, last_time: str = "", name: str = "undo", reach: str = "") -> Order:
    """Take the latest rollback back; ``last_time`` says what became of the one before, ``reach`` what it touches."""
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
        touches=touched(reach),
        back=way_back("UndoRollback", key, before=event.to_variant),
        note=f"Refused if the epoch is no longer {event.epoch}.",
        command=event.undo_command,
        body=about(key, m.UndoRollback, expected_epoch=event.epoch, rollback_id=event.rollback_id),
        hint=f"{event.from_variant} becomes active again. Nothing automatic happens for a while.",
        icon="undo",
    )


def confirm(event: m.RollbackEvent, reach: str = "") -> Order:
    """Mark a rollback as reviewed."""
    key = TaskKey(event.agent_name, event.task_type)
    return Order(
        name="confirm",
        label="Confirm…",
        title="Confirm this rollback?",
        confirm="Confirm",
        effects=[("check", "", f"It counts as reviewed. {event.from_variant} stays in quarantine until it is lifted.")],
        touches=touched(reach),
        back=way_back("ConfirmRollback", rollback_id=event.rollback_id),
        command=f"crl confirm {event.rollback_id}",
        body=about(key, m.ConfirmRollback, rollback_id=event.rollback_id),
        hint=f"Marks it reviewed. {event.from_variant} stays in quarantine.",
        icon="check",
    )


def hold(key: TaskKey, reach: str = "") -> Order:
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
        touches=touched(reach),
        back=way_back("HoldTask", key),
        command=f"crl hold {key}",
        body=about(key, m.HoldTask),
        asks=("reason", "hours"),
        hours=HOLD,
        hint="Nothing automatic happens, not even a rollback.",
        icon="pause",
    )


def resume(key: TaskKey, held: m.Order, name: str = "resume", reach: str = "") -> Order:
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
        touches=touched(reach),
        back=way_back("ResumeTask", key),
        command=f"crl resume {key}",
        body=about(key, m.ResumeTask),
        hint="Ends the hold of this task.",
    )


def pin(key: TaskKey, variant_id: str, epoch: int, reach: str = "") -> Order:
    """Pin the active variant."""
    return Order(
        name="pin",
        label=f"Pin {variant_id}…",
        title=f"Pin {variant_id}?",
        confirm="Pin",
        effects=[("pin", "", f"Nothing is promoted over {variant_id}. A rollback still protects the task.")],
        touches=touched(reach),
        back=way_back("PinVariant", key),
        note=f"Refused if the epoch is no longer {epoch}.",
        command=f"crl pin {key} {variant_id} --epoch {epoch}",
        body=about(key, m.PinVariant, variant_id=variant_id, expected_epoch=epoch),
        asks=("reason", "hours"),
        hours=PIN,
        hint="No promotion; a rollback still protects.",
        icon="pin",
    )


def unpin(key: TaskKey, pinned: m.Order, reach: str = "") -> Order:
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
        touches=touched(reach),
        back=way_back("UnpinVariant", key, variant=pinned.variant_id),
        command=f"crl unpin {key}",
        body=about(key, m.UnpinVariant),
        hint="A better variant can be promoted again.",
    )


def activate(key: TaskKey, choices: list[str], epoch: int, reach: str = "") -> Order:
    """Make another variant the active one."""
    return Order(
        name="activate",
        label="Activate another…",
        title=f"Activate another variant of {key}?",
        confirm="Activate",
        tone="danger",
        effects=[
            ("right", "", f"Runtimes use it with their next invocation; epoch {epoch} becomes {epoch + 1}."),
        ],
        touches=touched(reach),
        back=way_back("ActivateVariant", key, epoch=epoch + 1),
        note=f"Refused if the epoch is no longer {epoch}.",
        command=f"crl activate {key} VARIANT --epoch {epoch}",
        body=about(key, m.ActivateVariant, expected_epoch=epoch),
        fields=[
            _variant(choices),
            Field(name="untested", label="Allow a variant that has no outcome yet", kind="switch", flag="--untested"),
        ],
        hint="Runtimes use it with their next invocation.",
    )


def start_rollout(key: TaskKey, choices: list[str], epoch: int, reach: str = "") -> Order:
    """Replace the active variant in stages."""
    return Order(
        name="rollout-start",
        label="Start a rollout…",
        title=f"Roll another variant of {key} out?",
        confirm="Start",
        effects=[
            ("up", "", "It gets a small share of the invocations, then more while it is not worse; then it is active."),
            ("check", "", "If it is degraded, the rollout is aborted and the variant is quarantined."),
        ],
        touches=touched(reach),
        back=way_back("StartRollout", key),
        note=f"Refused if the epoch is no longer {epoch}.",
        command=f"crl rollout start {key} VARIANT --epoch {epoch}",
        body=about(key, m.StartRollout, expected_epoch=epoch),
        fields=[
            _variant(choices),
            Field(
                name="stages",
                label="Shares of the stages, in percent",
                kind="shares",
                flag="--stages",
                hint="Such as 5,25,50. Empty: rollout.stages of the policy, else 5, 25 and 50.",
            ),
            Field(
                name="min_outcomes",
                label="Outcomes that each stage needs",
                kind="number",
                flag="--outcomes",
                hint="Empty: rollout.min_outcomes of the policy.",
            ),
        ],
        hint="It gets a small share first, and more while it is not worse.",
        icon="up",
    )


def steer_rollout(key: TaskKey, rollout: m.RolloutSnapshot, reach: str = "") -> Iterator[Order]:
    """Pause or resume the rollout in progress, begin its next stage, or end it."""
    yield _pause_or_resume(key, rollout, reach)
    name, about_it = rollout.variant_id, {"rollout_id": rollout.rollout_id}
    yield Order(
        name="rollout-promote",
        label="Next stage now…",
        title=f"Begin the next stage of the rollout of {name} now?",
        confirm="Begin the next stage",
        tone="danger",
        effects=[
            ("right", "", f"It does not wait for: {rollout.waits_for}."),
            (
                "up",
                "",
                f"Stage {rollout.stage} of {len(rollout.stages)} is in progress; after the last, {name} is active.",
            ),
        ],
        touches=touched(reach),
        back=way_back("PromoteRollout", key, variant=name),
        note=f"Refused if stage {rollout.stage} is no longer in progress.",
        command=f"crl rollout promote {key}",
        body=about(key, m.PromoteRollout, stage=rollout.stage, **about_it),
        fields=[
            Field(name="full", label=f"Skip all other stages: {name} becomes active now", kind="switch", flag="--full")
        ],
        hint="Without waiting for outcomes.",
        icon="up",
    )
    yield Order(
        name="rollout-abort",
        label="Abort the rollout…",
        title=f"Abort the rollout of {name}?",
        confirm="Abort",
        tone="danger",
        effects=[
            ("undo", "", f"All invocations use {rollout.control_variant} again. {name} is not quarantined."),
        ],
        touches=touched(reach),
        back=way_back("AbortRollout", key, variant=name),
        command=f"crl rollout abort {key}",
        body=about(key, m.AbortRollout, **about_it),
        hint=f"All invocations use {rollout.control_variant} again.",
        icon="x-circle",
    )


def _pause_or_resume(key: TaskKey, rollout: m.RolloutSnapshot, reach: str) -> Order:
    """Pause the rollout in progress, or resume it."""
    name, about_it = rollout.variant_id, {"rollout_id": rollout.rollout_id}
    if rollout.paused is None:
        return Order(
            name="rollout-pause",
            label="Pause the rollout…",
            title=f"Pause the rollout of {name}?",
            confirm="Pause",
            effects=[
                ("pause", "", f"{name} keeps {100 * rollout.share:.3g} % of the invocations until someone resumes."),
                ("check", "", "It is still aborted if it is degraded."),
            ],
            touches=touched(reach),
            back=way_back("PauseRollout", key),
            command=f"crl rollout pause {key}",
            body=about(key, m.PauseRollout, **about_it),
            hint="It keeps its share. It is still aborted if it is degraded.",
            icon="pause",
        )
    return Order(
        name="rollout-resume",
        label="Resume the rollout…",
        title=f"Resume the rollout of {name}?",
        confirm="Resume",
        effects=[
            ("up", "", "Its next stage begins once it is due."),
            ("person", "", f"{rollout.paused.actor} paused it: {rollout.paused.reason or 'no reason given'}"),
        ],
        touches=touched(reach),
        back=way_back("ResumeRollout", key),
        command=f"crl rollout resume {key}",
        body=about(key, m.ResumeRollout, **about_it),
        hint="Its next stage begins once it is due.",
    )


def lift(key: TaskKey, quarantined: list[str], reach: str = "") -> Order:
    """Release a variant from quarantine."""
    return Order(
        name="lift",
        label="Lift a quarantine…",
        title=f"Lift a quarantine of {key}?",
        confirm="Lift",
        effects=[
            ("dots", "", "Runtimes may explore the variant again, and it may be promoted or rolled back to."),
            ("check", "", "Nothing changes at once: the active variant stays."),
        ],
        touches=touched(reach),
        back=way_back("LiftQuarantine", key),
        command=f"crl quarantine lift {key} VARIANT",
        body=about(key, m.LiftQuarantine),
        fields=[_variant(quarantined)],
        hint="The variant can be chosen again.",
        icon="undo",
    )


def register(key: TaskKey, known: list[str], reach: str = "", *, explored: bool = True) -> Order:
    """Add a variant with its configuration; ``explored`` is whether runtimes explore at all."""
    off = "Exploration is off: it gets no invocations until operations.exploration is raised, or a rollout is started."
    may = "Runtimes may explore it. It becomes active when its outcomes justify it."
    return Order(
        name="register",
        label="Register a variant…",
        title=f"Register a variant of {key}?",
        confirm="Register",
        effects=[
            ("dots", "", may) if explored else ("warn", "warn", off),
            ("check", "", "Its configuration cannot be changed later: another configuration is another variant."),
        ],
        touches=touched(reach),
        back=way_back("RegisterVariant", key),
        command=f"crl register {key} VARIANT",
        body=about(key, m.RegisterVariant),
        fields=[
            Field(name="variant_id", label="Name of the new variant", word="VARIANT", required=True),
            Field(name="parent", label="Derived from", kind="choice", flag="--parent", choices=["", *known]),
            Field(name="provider", label="Provider of the model", flag="--provider"),
            Field(name="model", label="Model", flag="--model"),
            Field(name="model_tier", label="Class of the model", flag="--model-tier"),
            Field(
                name="temperature",
                label="Temperature",
                kind="number",
                flag="--temperature",
                hint="0 to 2.",
            ),
            Field(
                name="configuration",
                label="Configuration",
                kind="json",
                flag="--configuration",
                hint="What runtimes get for it: a JSON object, at most 16 KiB.",
            ),
            Field(
                name="ref",
                label="Where its configuration is kept",
                flag="--ref",
                hint="Such as langfuse:refund@12.",
            ),
        ],
        hint="It may be explored, but is never promoted without outcomes." if explored else off,
        icon="plus",
    )


def retire(key: TaskKey, choices: list[str], reach: str = "") -> Order:
    """Never choose or explore a variant again."""
    return Order(
        name="retire",
        label="Retire a variant…",
        title=f"Retire a variant of {key}?",
        confirm="Retire",
        tone="danger",
        effects=[
            ("minus", "", "It is never chosen or explored again."),
        ],
        touches=touched(reach),
        back=way_back("RetireVariant", key),
        note="Refused while it is active.",
        command=f"crl retire {key} VARIANT",
        body=about(key, m.RetireVariant),
        fields=[_variant(choices)],
        hint="It is never chosen or explored again.",
        icon="minus",
    )


def accept(key: TaskKey, choices: list[str], reach: str = "") -> Order:
    """Accept what a degraded variant delivers now."""
    return Order(
        name="accept",
        label="Accept a lasting change…",
        title=f"Accept what a variant of {key} delivers now?",
        confirm="Accept",
        tone="danger",
        effects=[
            ("check", "", "It is compared with its present level from now on, so it is no longer degraded."),
            ("warn", "warn", "A decline that does not last is then not seen."),
        ],
        touches=touched(reach),
        back=way_back("AcceptLevel", key),
        command=f"crl accept {key} VARIANT",
        body=about(key, m.AcceptLevel),
        fields=[_variant(choices)],
        hint="Its present level becomes its baseline.",
        icon="check",
    )


def _variant(choices: list[str]) -> Field:
    """Return the choice of a variant, which stands for ``VARIANT`` in the command line."""
    return Field(name="variant_id", label="Variant", kind="choice", word="VARIANT", choices=choices, required=True)


def approve(proposal: m.Proposal, effects: list[str], reach: str = "", back: str | None = None) -> Order:
    """Approve a proposal; ``back`` is the command that undoes the approval."""
    lines = [("check", "", line) for line in effects]
    return _review(proposal, m.ApproveProposal, "approve", "Approve", "a", lines, reach, back)


def reject(proposal: m.Proposal, reach: str = "") -> Order:
    """Reject a proposal."""
    lines = [("minus", "", "Nothing changes. Your reason is kept.")]
    return _review(proposal, m.RejectProposal, "reject", "Reject", "r", lines, reach)


def defer(proposal: m.Proposal, reach: str = "") -> Order:
    """Postpone a proposal."""
    lines = [("clock", "", "It stays in the queue as deferred; it can still be approved or rejected.")]
    return _review(proposal, m.DeferProposal, "defer", "Defer", "d", lines, reach)


def _review(
    proposal: m.Proposal,
    kind: type[m.TaskCommand],
    verb: str,
    label: str,
    key: str,
    effects: list[tuple[str, str, str]],
    reach: str,
    back: str | None = None,
) -> Order:
    task = TaskKey(proposal.agent_name, proposal.task_type)
    undo_command = back or proposal.undo_command or f"crl undo {task}"
    return Order(
        name=f"{verb}-{proposal.proposal_id}",
        label=f"{label}…",
        title=f"{label} {proposal.proposal_id}?",
        confirm=label,
        tone="primary" if verb == "approve" else "",
        effects=effects,
        touches=touched(reach),
        back=way_back(kind.__name__, task, proposal_id=proposal.proposal_id, undo_command=undo_command),
        command=f"crl proposals {verb} {proposal.proposal_id}",
        body=about(task, kind, proposal_id=proposal.proposal_id, revision=proposal.revision),
        asks=("reason", "until") if verb == "defer" else ("reason",),
        needs_reason=kind in NEEDS_REASON,
        key=key,
    )
