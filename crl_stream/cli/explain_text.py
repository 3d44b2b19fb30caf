"""Renders an explanation for a terminal of 80 columns; a trace's address stays on one line of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from crl_stream.cli.layout import fit, wrap
from crl_stream.core.figures import number
from crl_stream.core.instant import readable
from crl_stream.core.messages import Candidate, Evidence
from crl_stream.core.reach import sentence
from crl_stream.explaining.documents import Baseline, Explanation, Figure, Outcome, PolicyOrigin, Step, Strip
from crl_stream.visible import visible

WIDTH: Final = 80


def page(found: Explanation) -> str:
    """Return an explanation as text."""
    lines = [
        f"{visible(found.id)}  {visible(found.review or found.kind)}",
        *_wrapped(found.sentence),
        *([f"  Task: {found.task}"] if found.task else []),
        *_when(found),
        f"  By: {visible(found.actor)}",
        *_wrapped(f"Touches: {found.touches}" if found.touches else ""),
        *_wrapped(sentence(found.last_time)),
        *_wrapped(f"Why: {found.reason}" if found.reason else ""),
        *_wrapped(f"Result: {found.result}" if found.result else ""),
    ]
    lines += _number(found)
    if found.position is not None:
        lines.append(f"  At: crl.invocations {found.position.partition}:{found.position.offset}")
    if found.policy is not None:
        lines += _wrapped(_policy(found.policy))
    lines += _proof(found)
    lines += _chain("What led to it", found.causes)
    lines += _since(found)
    if found.undo_command:
        heading = "To undo an approval" if found.kind == "proposal" else "To undo it"
        lines += ["", heading, f"  {found.undo_command}"]
    elif found.no_undo:
        lines += ["", *_wrapped(f"To undo it: no longer possible, {found.no_undo}", indent="")]
    lines += _next(found)
    return "\n".join(lines)


def _number(found: Explanation) -> list[str]:
    """Return the figure of an alert and its limit."""
    number, limit = found.fact.get("number"), found.fact.get("limit")
    if found.kind != "alert" or number is None:
        return []
    return [f"  Figure: {number:.4g}" + ("" if limit is None else f", limit {limit:.4g}")]


def _next(found: Explanation) -> list[str]:
    if not found.further_commands:
        return []
    heading = "To confirm it" if found.kind == "rollback" else "To review it"
    return ["", heading, *(f"  {command}" for command in found.further_commands)]


def _when(found: Explanation) -> Iterator[str]:
    epoch = "" if found.epoch is None else f", epoch {found.epoch}"
    shadow = ", only reported (not enforced)" if found.enforced is False else ""
    yield from _wrapped(f"When: {found.timestamp}{epoch}{shadow}")


def _policy(policy: PolicyOrigin) -> str:
    if policy.actor is not None:
        why = f": {policy.reason}" if policy.reason else ""
        return f"Policy: {policy.policy_hash}, set by {policy.actor} on {policy.set_at}{why} ({policy.command_id})"
    if policy.is_guide:
        return f"Policy: {policy.policy_hash}, the guide's: no one has set another"
    return f"Policy: {policy.policy_hash}; the command that set it is no longer on crl.commands"


def _proof(found: Explanation) -> Iterator[str]:
    if found.proof_id is None or found.strip is None or found.baseline is None or found.evidence is None:
        return
    if found.proof_id != found.id:
        yield from ["", f"The verdict behind it: {found.proof_id}"]
    yield from ["", "Figures against limits", *_figures(found.figures)]
    if any(figure.limit is None for figure in found.figures) and found.policy is not None:
        yield from _wrapped(f"The limits are those of policy {found.policy.policy_hash}, which is no longer known.")
    yield from ["", *_strip(found.strip)]
    yield from _baseline(found.baseline)
    yield from ["", "Evidence", *_evidence(found.evidence)]
    if found.candidates is not None:
        yield from ["", "Candidates, best first", *_candidates(found.candidates)]


def _figures(figures: Sequence[Figure]) -> list[str]:
    rows = [
        (
            figure.metric,
            f"{figure.baseline:.4g}",
            f"{figure.recent:.4g}",
            "-" if figure.change is None else f"{figure.change:.1%}",
            "unknown" if figure.limit is None else f"> {figure.limit:.1%}",
            figure.setting,
        )
        for figure in figures
    ]
    columns = ("metric", "baseline", "recent", "change", "limit", "setting")
    return _indented(fit(columns, rows, WIDTH - 2)) if rows else ["  none"]


def _strip(strip: Strip) -> Iterator[str]:
    letters = "".join(outcome.outcome for outcome in strip.outcomes)
    yield f"Judged outcomes ({len(letters)}, oldest first; S success, F failure, E error)"
    for at in range(0, len(letters), WIDTH - 2):
        yield f"  {letters[at : at + WIDTH - 2]}"
    if any(outcome.trace_id for outcome in strip.outcomes):
        for outcome in strip.outcomes:
            yield from _traced(outcome)
    else:
        yield from _cells(strip.outcomes)
    if strip.gone:
        yield from _wrapped(f"{strip.gone} of them are no longer on the log, so their trace ids are not known.")
    elif strip.outcomes and not any(outcome.trace_id for outcome in strip.outcomes):
        yield "  None of them names a trace."


def _traced(outcome: Outcome) -> Iterator[str]:
    figures = f"  {outcome.offset}  {outcome.outcome}  {outcome.reward:+.2f}"
    where = outcome.trace_url or outcome.trace_id
    if where is None:
        yield f"{figures}  no trace"
    elif len(figures) + 2 + len(visible(where)) <= WIDTH:
        yield f"{figures}  {visible(where)}"
    else:
        yield figures
        yield f"    {visible(where)}"


def _cells(outcomes: Sequence[Outcome]) -> Iterator[str]:
    cells = [f"{each.offset} {each.outcome} {each.reward:+.2f}" for each in outcomes]
    size = max(map(len, cells), default=0)
    number = max(1, WIDTH // (size + 2))
    for at in range(0, len(cells), number):
        yield "  " + "  ".join(cell.ljust(size) for cell in cells[at : at + number]).rstrip()


def _baseline(baseline: Baseline) -> list[str]:
    return _wrapped(f"Baseline: {baseline.words}")


def _evidence(found: Evidence) -> list[str]:
    word = "enough" if found.sufficient else "not enough"
    needed = "" if found.guard == "evidence" else "; the policy does not ask for it"
    lines = [
        f"  rule: {found.rule}",
        f"  guard: {found.guard}",
        *_wrapped(f"e-value: {number(found.e_value)}, needed {number(found.threshold)}: {word}{needed}"),
    ]
    if found.absolute:
        lines += _wrapped("no success in a full window: degraded whatever rule and evidence say")
    return lines + [f"  {name}: {number(value)}" for name, value in found.e_values.items()]


def _candidates(candidates: Sequence[Candidate]) -> list[str]:
    rows = [
        (c.variant_id, f"{c.q_value:.2f}", str(c.n_visits), "chosen" if c.chosen else c.why_not or "")
        for c in candidates
    ]
    return _indented(fit(("variant", "Q", "n", "why not"), rows, WIDTH - 2)) if rows else ["  none"]


def _since(found: Explanation) -> Iterator[str]:
    if found.since:
        yield from _chain("What has happened since", found.since)
    elif found.kind == "rollback" and found.enforced is False:
        yield from ["", "What has happened since", "  nothing yet: shadow mode judges the rollback later"]
    else:
        yield from ["", "What has happened since", "  nothing so far"]


def _chain(heading: str, steps: Sequence[Step]) -> Iterator[str]:
    if steps:
        yield from ["", heading]
    for step in steps:
        by = "" if step.actor == "monitor" else f" by {step.actor}"
        yield from _wrapped(f"{step.timestamp}  {step.what}{by}: {step.words or 'no reason given'} ({step.id})")


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    return wrap(readable(visible(text)), WIDTH, indent) if text else []


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]
