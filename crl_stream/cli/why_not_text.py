"""Renders why nothing happened for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crl_stream.cli.layout import wrap
from crl_stream.explaining.why_not import Answer, Condition, WhyNot
from crl_stream.visible import visible

WIDTH: Final = 80
_IDLE: Final = "rule outcomes baseline part values pin hold incident verifying degraded open rollout reported full"
_NOTHING_TO_SAY: Final = frozenset([*_IDLE.split(), "covered", "new", "closed", "patience", "predicted", "since"])
"""Conditions that keep most steps from happening, mostly because there is nothing to end."""
_EMPTY: Final = (
    "nothing does/no hold/no hold on the fleet/no pin/not retired/not quarantined/none/no incident/not paused/"
    "not degraded/no common fall/none does/the best/new/yes"
)
_SAID: Final = frozenset(_EMPTY.split("/"))
"""Texts that add nothing to the label of a true condition."""
_ALWAYS: Final = frozenset(("rolled_back",))
"""Questions that are always shown in full."""


def page(found: WhyNot, *, every: bool = False) -> str:
    """Return the conclusion, and the conditions of what could happen now; with ``every``, of every automatic step."""
    task = f"{found.agent_name}/{found.task_type}"
    lines = [*_wrapped(found.sentence, ""), ""]
    lines += _wrapped(f"{task}: {found.active_variant or 'nothing'} is active, epoch {found.epoch}", "")
    as_of = f"crl.invocations {found.as_of.partition}:{found.as_of.offset}, {found.timestamp}"
    lines += _wrapped(f"{found.n_outcomes} outcomes, as of {as_of}", "  ")
    lines += _wrapped(_policy(found), "  ")
    if found.behind:
        words = "1 record" if found.behind == 1 else f"up to {found.behind:,} records"
        lines += _wrapped(
            f"Not folded yet: {words} of the log; if this does not fall, no worker is running (crl status)", "  "
        )
    full = [answer for answer in found.answers if every or is_in_play(answer, found)]
    for answer in full:
        lines += ["", *_in_full(answer)]
    rest = [answer for answer in found.answers if answer not in full]
    near = [answer for answer in rest if answer.stops not in _NOTHING_TO_SAY]
    if near:
        lines += ["", "Nor does this happen"]
        for answer in near:
            lines += _wrapped(f"{answer.title}: no, {answer.because}", "  ")
    if rest:
        lines += ["", *_wrapped(f"{len(rest)} steps are not shown in full; --all shows each of their conditions.", "")]
    return "\n".join(lines)


def is_in_play(answer: Answer, found: WhyNot) -> bool:
    """Return whether an answer is shown in full: it happens, or its precondition is true and people ask for it."""
    if answer.acts or answer.key in _ALWAYS:
        return True
    if answer.key == "promoted":
        best = next(one for one in found.answers if one.key == "promoted")
        return answer.variant_id == found.variant_id or (found.variant_id is None and answer is best)
    if answer.key in {"taken_back", "stage_passed", "rollout_aborted", "cause_recovered"}:
        return answer.conditions[0].holds
    return answer.key == "first"


def _policy(found: WhyNot) -> str:
    policy = found.policy
    if policy.actor is not None:
        return f"Policy {policy.policy_hash}, set by {policy.actor} on {policy.set_at}"
    return f"Policy {policy.policy_hash}" + (", the guide's: no one has set another" if policy.is_guide else "")


def _in_full(answer: Answer) -> Iterator[str]:
    yield from _wrapped(f"{answer.title}: {'yes, with the next outcome' if answer.acts else 'no'}", "")
    for condition in answer.conditions:
        yield from _condition(condition, stops=condition.key == answer.stops)


def _condition(condition: Condition, *, stops: bool) -> Iterator[str]:
    mark = ">" if stops else " "
    word = "yes" if condition.holds else "NO " if stops else "no "
    words = condition.label if condition.holds and condition.text in _SAID else f"{condition.label}: {condition.text}"
    first, *more = wrap(visible(words), WIDTH - 10)
    yield f"{mark} {word}   {first}".rstrip()
    yield from (f"          {line}" for line in more)
    for detail in condition.details:
        if detail not in words:
            for number, line in enumerate(wrap(visible(detail), WIDTH - 12)):
                yield f"          {'  ' if number else ''}{line}"


def _wrapped(text: str, indent: str) -> list[str]:
    return wrap(visible(text), WIDTH, indent)
