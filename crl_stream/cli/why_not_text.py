"""Renders why nothing happened for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crl_stream.cli.layout import wrap
from crl_stream.core.figures import counted
from crl_stream.core.instant import readable
from crl_stream.explaining.why_not import Answer, Condition, WhyNot, details_of, is_in_play, is_near, words_of
from crl_stream.visible import visible

WIDTH: Final = 80


def page(found: WhyNot, *, every: bool = False) -> str:
    """Return the conclusion, and the conditions of what could happen now; with ``every``, of every automatic step."""
    task = f"{found.agent_name}/{found.task_type}"
    lines = [*_wrapped(found.sentence, ""), ""]
    lines += _wrapped(f"{task}: {found.active_variant or 'nothing'} is active, epoch {found.epoch}", "")
    as_of = f"crl.invocations {found.as_of.partition}:{found.as_of.offset}, {found.timestamp}"
    lines += _wrapped(f"{counted(found.n_outcomes, 'outcome')}, as of {as_of}", "  ")
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
    near = [answer for answer in rest if is_near(answer)]
    if near:
        lines += ["", "Nor does this happen"]
        for answer in near:
            lines += _wrapped(f"{answer.title}: no, {answer.because}", "  ")
    if rest:
        lines += ["", *_wrapped(f"{len(rest)} steps are not shown in full; --all shows each of their conditions.", "")]
    return "\n".join(lines)


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
    more_words = words_of(condition)
    words = f"{condition.label}: {more_words}" if more_words else condition.label
    first, *more = wrap(readable(visible(words)), WIDTH - 10)
    yield f"{mark} {word}   {first}".rstrip()
    yield from (f"          {line}" for line in more)
    for detail in details_of(condition):
        if detail not in words:
            for number, line in enumerate(wrap(readable(visible(detail)), WIDTH - 12)):
                yield f"          {'  ' if number else ''}{line}"


def _wrapped(text: str, indent: str) -> list[str]:
    return wrap(readable(visible(text)), WIDTH, indent)
