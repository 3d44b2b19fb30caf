"""One step for the label of one task in one prompt store.

Only the topics decide; the label follows them. The laws:

* **The mirror writes only over what it left itself.**  Anything else that the label points to was chosen by a person.
  So a label never goes back and forth between the mirror and a person.
* **A person's move leads to one command.** It is an ``ActivateVariant`` with the current epoch. If it is refused,
  people are alerted, and the label stays.
* **Nothing is done before it is on the topic.**  A step returns the next record first; then the label is moved, or the
  record's messages are published.  A process that takes over repeats the same step, so alerts are not doubled.

``step`` is repeated until it changes nothing.  It only needs the record, what is wanted, and what the store shows now.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.ids import fact_id
from crl_stream.core.instant import from_text, to_text
from crl_stream.core.messages.mirrors import Asked, Conflict, MirrorLabel, Moving, Version
from crl_stream.core.mirroring.alerts import alert
from crl_stream.core.mirroring.refs import PromptRef, write_ref
from crl_stream.core.mirroring.wants import Wanted

SETTLE_MS: Final = 10_000
"""How long after a move the store may still show what was there before, or accept a late write, in milliseconds."""
ANSWER_MS: Final = 600_000
"""How long the command for a person's move is valid, in milliseconds."""
GRACE_MS: Final = 60_000
"""How long after its expiry an answer to the command is still expected, in milliseconds."""
CREDITED: Final = 20
"""How many people's names are remembered."""
replace = msgspec.structs.replace


class Seen(NamedTuple):
    """What the store shows."""

    version: Version | None
    """The version that the label points to; None if the prompt has no such label."""
    names: tuple[str, ...] = ()
    """People who are named at that version."""


class Step(NamedTuple):
    """The result of a step."""

    record: MirrorLabel | None
    """The next record; the same object if nothing has changed."""
    move: Version | None = None
    """The version that the label must be moved to, after ``record`` is on the topic."""


def step(record: MirrorLabel | None, want: Wanted, seen: Seen, now: int, answer: m.CommandResult | None = None) -> Step:
    """Return what follows; ``answer`` is the monitor's result of the command in ``record.asked``, if there is one.

    ``record`` must not hold messages that are still to be published.
    """
    if record is None or (record.prompt, record.label) != (want.prompt, want.label):
        if want.without_ref or (want.problem and record is None and seen.version is None):
            return Step(record)
        record = _new(want, 0 if record is None else record.revision)
        return _next(record, _evaluate(record, want, seen, now))
    if want.epoch < max((record.incarnation, record.epoch), _epoch_of(record.conflict)):
        return Step(record)  # the reader of the topics is behind what an earlier process has seen
    if record.asked is not None:
        return _next(record, _answered(record, record.asked, want, seen, now, answer))
    return _next(record, _evaluate(record, want, seen, now))


def refuse_move(
    record: MirrorLabel | None, want: Wanted, seen: Seen, reason: str, now: int, *, problem: bool = False
) -> MirrorLabel:
    """Return the record after the store has refused to move the label, for example because the version is missing.

    With ``problem``, it does not even show where the label is. It is the same record if people have been told about
    this in this epoch.
    """
    record = record or _new(want, 0)
    conflict = record.conflict
    if conflict is not None and _epoch_of(conflict) == want.epoch and conflict.reason == reason:
        return record
    return _next(record, Step(_conflict(record, want, seen, reason, now, problem=problem))).record or record


def published(record: MirrorLabel) -> MirrorLabel:
    """Return the record after its messages have been published."""
    return replace(record, revision=record.revision + 1, receipt=None, alert=None, command=None)


def messages_of(record: MirrorLabel) -> list[m.Receipt | m.Alert | m.ActivateVariant]:
    """Return the messages that are to be published."""
    return [message for message in (record.receipt, record.alert, record.command) if message is not None]


def _next(before: MirrorLabel, done: Step) -> Step:
    """Number the new record, if there is one."""
    if done.record is None or done.record is before:
        return done
    return Step(replace(done.record, revision=before.revision + 1), done.move)


def _new(want: Wanted, revision: int) -> MirrorLabel:
    return MirrorLabel(
        store=want.store,
        agent_name=want.key.agent_name,
        task_type=want.key.task_type,
        prompt=want.prompt,
        label=want.label,
        revision=revision,
        incarnation=0,
        epoch=0,
        left=None,
    )


def _epoch_of(conflict: Conflict | None) -> tuple[int, int]:
    return (-1, -1) if conflict is None else (conflict.incarnation, conflict.epoch)


def _evaluate(record: MirrorLabel, want: Wanted, seen: Seen, now: int) -> Step:
    """Return what follows when no command is unanswered."""
    conflict, settled = record.conflict, (record.incarnation, record.epoch)
    if want.problem:
        known = conflict is not None and conflict.problem and _epoch_of(conflict) == want.epoch
        return Step(record if known else _conflict(record, want, seen, want.problem, now, problem=True))
    if seen.version == want.version:
        return Step(_settled(record, want, now))
    if conflict is not None and not conflict.problem and _epoch_of(conflict) == want.epoch:
        return Step(record if conflict.found == seen.version else _person_moved(record, want, seen, now))
    is_unfinished = record.moving is not None and not record.moving.overtaken
    if _is_late_write(record, seen, now):
        return _move(replace(record, left=seen.version), want, now)
    if seen.version == record.left and (settled != want.epoch or is_unfinished or conflict is not None):
        return _move(record, want, now)
    if settled == want.epoch and conflict is None:
        if record.previous == seen.version and _within(record.settled_at, SETTLE_MS, now):
            return Step(record)  # perhaps the store still shows what was there before the move
        return Step(_person_moved(record, want, seen, now))
    was = "before the mirror began" if record.left is None else f"although the mirror had left {want.ref(record.left)}"
    return Step(_conflict(record, want, seen, f"it pointed to {want.ref(seen.version)} {was}", now))


def _is_late_write(record: MirrorLabel, seen: Seen, now: int) -> bool:
    """Return whether the label shows a move of the mirror itself that was interrupted or arrived late."""
    moving = record.moving
    if moving is None or moving.version != seen.version:
        return False
    return not moving.overtaken or _within(moving.at, SETTLE_MS, now)


def _within(since: str | None, milliseconds: int, now: int) -> bool:
    return since is not None and now < from_text(since) + milliseconds


def _move(record: MirrorLabel, want: Wanted, now: int) -> Step:
    """Announce the move, unless it is announced already, and make it."""
    assert want.version is not None
    moving = record.moving
    if moving is None or moving.version != want.version or moving.overtaken:
        record = replace(record, moving=Moving(version=want.version, at=to_text(now)))
    return Step(record, want.version)


def _overtaken(moving: Moving | None, version: Version) -> Moving | None:
    """Return the announced move, marked as overtaken, once the label is correct at another ``version``; else None."""
    return None if moving is None or moving.version == version else replace(moving, overtaken=True)


def _settled(record: MirrorLabel, want: Wanted, now: int) -> MirrorLabel:
    """Record that the label points to the active variant; a new epoch gives a receipt, the end of a conflict an alert.

    A label that was correct when the mirror began gives no receipt, because nothing was moved.
    """
    is_new = (record.incarnation, record.epoch) != want.epoch
    if not is_new and record.conflict is None:
        return record
    began = record.left is None and record.moving is None
    assert want.version is not None
    return replace(
        record,
        moving=_overtaken(record.moving, want.version),
        incarnation=want.active.incarnation,
        epoch=want.active.epoch,
        left=want.version,
        previous=record.left if record.left != want.version else record.previous,
        settled_at=to_text(now),
        conflict=None,
        receipt=_receipt(want, now) if is_new and not began else None,
        alert=None if record.conflict is None else _end_of(record.conflict, record, want, now),
    )


def _receipt(want: Wanted, now: int) -> m.Receipt:
    active, runtime = want.active, f"mirror:{want.store}"
    since = from_text(active.since)
    return m.Receipt(
        receipt_id=fact_id("rcpt", since, "receipt", runtime, want.key, active.incarnation, active.epoch),
        timestamp=to_text(now),
        agent_name=want.key.agent_name,
        task_type=want.key.task_type,
        runtime_id=runtime,
        variant_id=active.variant_id,
        epoch=active.epoch,
        late_invocations=0,
        milliseconds=max(0, now - since),
        position=active.position,
    )


# -- people ----------------------------------------------------------------------------------------
def _person_moved(record: MirrorLabel, want: Wanted, seen: Seen, now: int) -> MirrorLabel:
    """Turn a person's move into a command, or leave the label alone if it names no variant, or more than one."""
    names = () if seen.version is None else want.variants.get(seen.version, ())
    where = f"a person moved it to {want.ref(seen.version)}"
    if seen.version is None:
        return _conflict(record, want, seen, "a person removed it", now)
    if len(names) != 1:
        why = "no variant of the task is" if not names else f"more than one variant is: {', '.join(names)}"
        return _conflict(record, want, seen, f"{where}, which {why}", now)
    actor, credited = _actor(record, want, seen)
    place = write_ref(PromptRef(want.store, want.prompt, seen.version))
    command_id = fact_id("mirror", now, "command", want.store, want.key, *want.epoch, seen.version, record.revision)
    command = m.ActivateVariant(
        schema_version=m.SCHEMA_VERSION,
        command_id=command_id,
        timestamp=to_text(now),
        actor=actor,
        reason=f"the label {want.label} was moved to {place}",
        expires_at=to_text(now + ANSWER_MS),
        agent_name=want.key.agent_name,
        task_type=want.key.task_type,
        expected_epoch=want.active.epoch,
        variant_id=names[0],
    )
    asked = Asked(version=seen.version, variant_id=names[0], command_id=command_id, at=to_text(now))
    return replace(record, asked=asked, command=command, credited=credited)


def _actor(record: MirrorLabel, want: Wanted, seen: Seen) -> tuple[str, dict[str, str]]:
    """Return who moved the label, and the names that are used up.

    A name counts once for a version: it stays in the store, and the next person may not give one.
    """
    assert seen.version is not None
    fresh = [name for name in sorted(seen.names) if record.credited.get(name) != seen.version]
    known = {name: at for name, at in record.credited.items() if name not in seen.names}
    credited = dict(list(known.items())[-CREDITED:]) | dict.fromkeys(sorted(seen.names)[:CREDITED], seen.version)
    return (f"{' and '.join(fresh)} (by {want.store})" if fresh else want.store)[:200], credited


def _answered(
    record: MirrorLabel, asked: Asked, want: Wanted, seen: Seen, now: int, answer: m.CommandResult | None
) -> Step:
    """Return what follows while a command is unanswered: wait for it, or go on from what it has led to."""
    done = replace(record, asked=None)
    if want.active.cause_id == asked.command_id and want.version == asked.version:
        # The label was there when the person chose it, even if it has moved on since.
        return Step(_settled(done, want, now))
    overtaken = want.epoch > max((record.incarnation, record.epoch), _epoch_of(record.conflict))
    if answer is not None and answer.outcome == "applied" and overtaken:
        # The variant was active for a moment, so the mirror left the label there.
        epochs = {"incarnation": want.active.incarnation, "epoch": min(answer.epoch, want.active.epoch - 1)}
        moving = _overtaken(record.moving, asked.version)
        done = replace(done, **epochs, left=asked.version, previous=record.left, moving=moving)
        return Step(replace(done, settled_at=to_text(now)))
    refused = answer.detail if answer is not None and answer.outcome == "refused" else None
    if refused is None and not overtaken and _within(asked.at, ANSWER_MS + GRACE_MS, now):
        return Step(record)
    if seen.version != asked.version or seen.version == want.version or want.problem:
        return _evaluate(done, want, seen, now)
    why = refused or ("another variant became active first" if overtaken else "no worker has answered")
    reason = f"a person moved it to {want.ref(seen.version)}, but {asked.variant_id} was not activated: {why}"
    return Step(_conflict(done, want, seen, reason, now))


# -- alerts ----------------------------------------------------------------------------------------
def _conflict(
    record: MirrorLabel, want: Wanted, seen: Seen, reason: str, now: int, *, problem: bool = False
) -> MirrorLabel:
    """Leave the label alone and alert people; the alerts of one conflict share the id of the first as their cause."""
    old = record.conflict
    alert_id = fact_id("alert", now, "mirror_conflict", want.store, want.key, record.revision)
    first = alert_id if old is None else old.alert_id
    conflict = Conflict(
        found=seen.version,
        incarnation=want.active.incarnation,
        epoch=want.active.epoch,
        reason=reason,
        problem=problem,
        alert_id=first,
    )
    wanted = want.active.variant_id if want.version is None else f"{want.active.variant_id} ({want.ref(want.version)})"
    action = (
        f"the label {want.label} of {want.prompt} in {want.store} is left alone: {reason}; {wanted} is active; "
        f"move the label there, or activate the variant you want: crl activate {want.key} VARIANT"
    )
    return replace(record, conflict=conflict, alert=_alert(want, action, alert_id, first, now))


def _end_of(conflict: Conflict, record: MirrorLabel, want: Wanted, now: int) -> m.Alert:
    alert_id = fact_id("alert", now, "mirror_conflict", want.store, want.key, record.revision)
    action = f"the label {want.label} in {want.store} points to {want.ref(want.version)} and follows again"
    return _alert(want, action, alert_id, conflict.alert_id, now, resolved=True)


def _alert(want: Wanted, action: str, alert_id: str, cause_id: str, now: int, *, resolved: bool = False) -> m.Alert:
    subject = f"{want.key} {want.store}"
    return alert("mirror_conflict", subject, action, alert_id, cause_id, now, resolved=resolved, task=want.key)
