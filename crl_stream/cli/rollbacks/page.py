"""Renders one rollback in full, for a person who wants to know whether it was right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from crl_stream.cli.layout import fit, wrap
from crl_stream.core.messages import RollbackEvent
from crl_stream.core.monitor.detectors import DETECTORS
from crl_stream.core.policy import Degradation, Policy
from crl_stream.dashboard.fates import Event, status_of

WIDTH: Final = 80


def page(event: RollbackEvent, fate: Sequence[Event], policy: Policy | None) -> str:
    """Return everything known about a rollback.

    ``policy`` is the policy that judged it, None if that is no longer known.
    """
    lines = [
        f"{event.rollback_id}  {status_of(event, fate)}",
        f"  Task: {event.agent_name}/{event.task_type}",
        f"  Change: {event.from_variant} -> {event.to_variant}",
        *([f"  Rollout: {event.rollout_id}, aborted"] if event.rollout_id else []),
        f"  When: {event.timestamp}, epoch {event.epoch}",
        *wrap(f"Reason: {event.reason}", WIDTH, indent="  "),
        f"  At: crl.invocations {event.position.partition}:{event.position.offset}",
        f"  Alert: {event.cause_id}",
        f"  Policy: {event.policy_hash}, engine {event.engine_version}",
        "",
        "Figures against limits",
        *_indented(_figures(event, None if policy is None else policy.degradation)),
    ]
    if policy is None:
        lines += wrap(
            f"The limits are those of policy {event.policy_hash}, which is no longer on crl.commands.", WIDTH, "  "
        )
    lines += ["", *_judged(event), "", "Evidence", *_indented(_evidence(event))]
    if not event.rollout_id:
        lines += ["", "Candidates, best first", *_indented(_candidates(event) or ["none"])]
    lines += ["", "What became of it"]
    for one in fate:
        by = f" by {one.actor}" if one.what in {"confirmed", "undone"} else ""
        lines += wrap(f"{one.timestamp}  {one.what}{by}: {one.reason or 'no reason given'} ({one.id})", WIDTH, "  ")
    if not fate:
        lines.append("  nothing so far" if event.enforced else "  nothing yet: shadow mode judges the rollback later")
    if event.enforced and not any(one.what in {"undone", "taken back", "followed"} for one in fate):
        lines += ["", "To undo it", f"  {event.undo_command}", "To confirm it", f"  crl confirm {event.rollback_id}"]
    return "\n".join(lines)


def _candidates(event: RollbackEvent) -> list[str]:
    rows = [
        (c.variant_id, f"{c.q_value:.2f}", str(c.n_visits), "chosen" if c.chosen else c.why_not or "")
        for c in event.candidates
    ]
    return fit(("variant", "Q", "n", "why not"), rows, WIDTH - 2) if rows else []


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _figures(event: RollbackEvent, limits: Degradation | None) -> list[str]:
    figures, rows = event.degradation_metrics, []
    for detector in DETECTORS:
        metric, change, setting = detector.name, detector.change, detector.setting.name
        before, after = figures.get(f"baseline_{metric}"), figures.get(f"recent_{metric}")
        if before is None or after is None:
            continue
        moved = figures.get(change)
        rows.append(
            (
                metric,
                f"{before:.3f}",
                f"{after:.3f}",
                "-" if moved is None else f"{moved:.1%}",
                "unknown" if limits is None else f"> {getattr(limits, setting):.1%}",
                setting,
            )
        )
    rows += _guardrails(figures)
    return fit(("metric", "baseline", "recent", "change", "limit", "degradation."), rows, WIDTH - 2) if rows else []


def _guardrails(figures: Mapping[str, float]) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Return a row for each guardrail metric among the figures."""
    known = {detector.name for detector in DETECTORS}
    for name in (each.removeprefix("baseline_") for each in figures if each.startswith("baseline_")):
        if name not in known:
            before, after = figures[f"baseline_{name}"], figures[f"recent_{name}"]
            change = figures.get(f"{name}_increase_pct", figures.get(f"{name}_drop_pct"))
            words = "-" if change is None else f"{change:.1%}"
            yield name, f"{before:.4g}", f"{after:.4g}", words, "", "(guardrails)"


def _judged(event: RollbackEvent) -> Iterator[str]:
    judged = event.judged
    yield f"Judged outcomes ({len(judged.successes)}, oldest first; S success, F failure, E error)"
    cells = [
        f"{offset} {letter} {reward:+.2f}"
        for offset, letter, reward in zip(judged.offsets, judged.successes, judged.rewards, strict=False)
    ]
    size = max(map(len, cells), default=0)
    each = max(1, (WIDTH - 2 + 2) // (size + 2))
    for at in range(0, len(cells), each):
        yield "  " + "  ".join(cell.ljust(size) for cell in cells[at : at + each]).rstrip()
    source = judged.baseline_source.replace("_", " ")
    of = f" of {judged.baseline_variant}" if judged.baseline_variant else ""
    yield f"  Baseline: {judged.baseline_n} outcomes{of} ({source})"


def _evidence(event: RollbackEvent) -> list[str]:
    found = event.evidence
    word = "enough" if found.sufficient else "not enough"
    lines = [
        f"rule: {found.rule}",
        f"guard: {found.guard}",
        f"e-value: {found.e_value:,.1f}, needed {found.threshold:,.0f}: {word}",
    ]
    return lines + [f"{name}: {value:,.1f}" for name, value in found.e_values.items()]
