"""Whether the latest rollback is taken back, or kept for good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crl_stream.core.figures import counted
from crl_stream.core.monitor import changes as c
from crl_stream.core.monitor.common_cause import (
    fell_together,
    find_incident,
)
from crl_stream.core.monitor.fall import began_at
from crl_stream.core.monitor.promise import compare, is_better, promise_of
from crl_stream.core.monitor.rollout import is_held
from crl_stream.core.monitor.row import Variant
from crl_stream.core.monitor.tags import covers, tags_of
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.verification import is_usable, promised_by, verify
from crl_stream.core.monitor.why_not.conditions import (
    Condition,
    Question,
    has,
    hold_conditions,
    mode_condition,
    nothing_before,
)


def about_verification(turn: Turn, target: Variant, acted: str | None = None) -> list[Question]:
    """Return whether the latest rollback is taken back, or kept for good."""
    row, left = turn.row, turn.row.left
    verifying = "no rollback is being verified" if left is None else f"{left.rollback_id}, from {left.variant_id}"
    begin = [Condition("verifying", "the latest rollback is being verified", left is not None, verifying)]
    begin += [] if acted is None else [nothing_before(acted)]
    titles = {
        "taken_back": "the latest rollback is taken back",
        "fell_together": "a shared cause is found, so the rollback was unfounded",
        "verified": "the latest rollback is kept for good",
    }
    if left is None:
        return [Question(key, target.variant_id, title, False, begin) for key, title in titles.items()]
    back, may_act = row.variants.get(left.variant_id), turn.rules.enforced and not is_held(turn)
    usable = is_usable(back) and turn.policy.rollback.verify
    words = "off (rollback.verify)" if not turn.policy.rollback.verify else f"{left.variant_id} can be used again"
    words = words if is_usable(back) else f"{left.variant_id} is retired or forgotten"
    begin.append(Condition("usable", "the task could return", usable, words))
    orders = [mode_condition(turn, "changes"), *hold_conditions(turn)]
    together = fell_together(turn, target, back) if usable and may_act and back is not None else ()
    changes = verify(turn, target) if acted is None else ()
    return [
        Question(
            "taken_back",
            target.variant_id,
            titles["taken_back"],
            any(type(one) is c.TakenBack and one.cause == "rollback_verified_worse" for one in changes),
            [*begin, *orders, *_worse(turn, target, back, fell=bool(together))],
        ),
        Question(
            "fell_together",
            target.variant_id,
            titles["fell_together"],
            has(changes, c.CommonCauseFound),
            [*begin, *orders, *_together(turn, target, back)],
        ),
        _verified(turn, target, titles["verified"], begin[:-1], usable=usable, together=together, changes=changes),
    ]


def _verified(
    turn: Turn,
    target: Variant,
    title: str,
    begin: list[Condition],
    *,
    usable: bool,
    together: Sequence[Any],
    changes: Sequence[Any],
) -> Question:
    """Return whether the verification of the latest rollback ends."""
    n, size = target.judged.n, turn.rules.size
    over = not usable or has(together, c.VerificationEnded) or (not together and n >= size)
    kept = not has(changes, c.TakenBack)
    conditions = [
        *begin,
        Condition("kept", "it is not taken back", kept, "it stays" if kept else "it is taken back"),
        Condition(
            "over",
            "the window is full, or there is no way back",
            over,
            f"{n} of {counted(size, 'outcome')}",
            n,
            size,
        ),
    ]
    return Question("verified", target.variant_id, title, has(changes, c.VerificationEnded), conditions)


def _worse(turn: Turn, target: Variant, back: Variant | None, *, fell: bool) -> list[Condition]:
    """Return whether the target of the latest rollback is worse than the variant that it replaced."""
    row, rules, left, n = turn.row, turn.rules, turn.row.left, target.judged.n
    assert left is not None
    promised, delivers = promised_by(left), promise_of(target.judged)
    failing = back is not None and covers(row.incident, back)
    worse = n > 0 and is_better(promised, delivers, rules.confidence)
    tag = "" if row.incident is None else row.incident.tag
    return [
        Condition(
            "apart",
            "the two variants did not fall together",
            not fell,
            "they fell together, so an incident begins" if fell else "no common fall",
        ),
        Condition(
            "outcomes",
            "enough outcomes of the target",
            n >= rules.min_recent,
            f"{n}, {rules.min_recent} needed",
            float(n),
            float(rules.min_recent),
        ),
        Condition(
            "way_back",
            "what the replaced variant uses is not failing",
            not failing,
            f"{tag} is failing" if failing else "nothing that it uses is failing",
        ),
        Condition(
            "worse",
            f"the target is worse by {rules.confidence:g} standard errors",
            worse,
            compare(delivers, promised) if n else "no outcome yet",
        ),
    ]


def _together(turn: Turn, target: Variant, back: Variant | None) -> list[Condition]:
    """Return whether the target and the replaced variant fell together because of what they share."""
    row = turn.row
    mine = covers(row.incident, target)
    found = None if back is None else find_incident(turn, back)
    known = row.incident is not None and found is not None and row.incident.tag == found.tag
    return [
        Condition("uncovered", "the target is in no incident yet", not mine, "in one" if mine else "in none"),
        *([] if back is None else shared_conditions(turn, back, reported=False)),
        Condition("new", "the incident is a new one", not known, "already known" if known else "not known yet"),
    ]


def shared_conditions(turn: Turn, fallen: Variant, *, reported: bool) -> list[Condition]:
    """Return whether other variants fell together with ``fallen``."""
    limit, tags = turn.policy.common_cause.hold_outcomes, tags_of(fallen)
    began, found = began_at(fallen, turn.rules), find_incident(turn, fallen, reported=reported)
    return [
        Condition("tags", "it names a provider or model", bool(tags), ", ".join(tags) or "it names none"),
        Condition(
            "watched",
            "common causes are looked for",
            bool(limit),
            f"common_cause.hold_outcomes is {limit}",
            float(limit),
            1.0,
        ),
        Condition(
            "fall",
            "its window lost something",
            began is not None,
            "nothing was lost" if began is None else f"since offset {began}",
        ),
        Condition(
            "others",
            "other variants with the same provider or model fell too",
            found is not None,
            "no other fell clearly, or they had too few outcomes since" if found is None else found.tag,
        ),
    ]
