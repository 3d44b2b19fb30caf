"""What a verdict rests on: figures and limits, the judged outcomes, the baseline, the evidence, the candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from crl_stream.core.figures import counted
from crl_stream.core.messages import DegradationAlert, Invocation, RollbackEvent
from crl_stream.core.messages.parts import BaselineSource, Judged
from crl_stream.core.monitor.detectors import DETECTORS
from crl_stream.core.monitor.guardrail import guardrails_of
from crl_stream.core.policy import Policy
from crl_stream.explaining.documents import Baseline, Figure, Outcome, Strip

Proof = RollbackEvent | DegradationAlert
"""The messages that carry a verdict with its figures."""

_SOURCES: Final[dict[BaselineSource, str]] = {
    "lifetime": "its lifetime, the window included",
    "before_window": "its lifetime before the window",
    "recent": "its recent past, or its lifetime before the window if that was better",
    "replaced_variant": "what the variant that it replaced had delivered",
    "accepted_level": "the level that a person accepted",
    "active_variant": "what the active variant delivered during the rollout",
}


def figures_of(proof: Proof, policy: Policy | None) -> list[Figure]:
    """Return the metrics with their limits under ``policy``, which is None if it is no longer known."""
    figures = proof.degradation_metrics
    found = []
    for detector in DETECTORS:
        before, after = figures.get(f"baseline_{detector.name}"), figures.get(f"recent_{detector.name}")
        if before is not None and after is not None:
            found.append(
                Figure(
                    metric=detector.name,
                    baseline=before,
                    recent=after,
                    change=figures.get(detector.change),
                    limit=None if policy is None else detector.value_of(policy.degradation),
                    setting=f"degradation.{detector.setting.name}",
                )
            )
    return [*found, *_guardrails(figures, policy)]


def _guardrails(figures: Mapping[str, float], policy: Policy | None) -> Iterator[Figure]:
    """Yield a figure for each guardrail metric."""
    known = {detector.name for detector in DETECTORS}
    for name in (each.removeprefix("baseline_") for each in figures if each.startswith("baseline_")):
        if name not in known:
            yield Figure(
                metric=name,
                baseline=figures[f"baseline_{name}"],
                recent=figures[f"recent_{name}"],
                change=figures.get(f"{name}_increase_pct", figures.get(f"{name}_drop_pct")),
                limit=None if policy is None else _guardrail_limit(name, policy),
                setting="guardrails",
            )


def _guardrail_limit(name: str, policy: Policy) -> float | None:
    return next((each.limit for each in guardrails_of(policy.guardrails) if each.name == name), None)


def baseline_of(judged: Judged) -> Baseline:
    """Return what the outcomes were compared with."""
    whose = f"{judged.baseline_variant}: " if judged.baseline_variant else ""
    words = f"{counted(judged.baseline_n, 'outcome')} of {whose}{_SOURCES[judged.baseline_source]}"
    return Baseline(n=judged.baseline_n, source=judged.baseline_source, variant_id=judged.baseline_variant, words=words)


def strip_of(proof: Proof, records: Mapping[int, Any], template: str) -> Strip:
    """Return the judged outcomes.

    ``records`` are the messages of the log by offset, as far as the log still has them.  ``template`` is the setting
    ``web.trace_url_template``.
    """
    judged, outcomes, gone = proof.judged, [], 0
    for offset, letter, reward in zip(judged.offsets, judged.successes, judged.rewards, strict=True):
        record = records.get(offset)
        if not isinstance(record, Invocation):
            gone += 1
            outcomes.append(Outcome(offset=offset, outcome=letter, reward=reward))
            continue
        outcomes.append(
            Outcome(
                offset=offset,
                outcome=letter,
                reward=reward,
                invocation_id=record.invocation_id,
                runtime_id=record.runtime_id,
                trace_id=record.trace_id,
                trace_url=trace_url(record.trace_id, template),
            )
        )
    return Strip(partition=proof.position.partition, outcomes=outcomes, gone=gone)


def trace_url(trace_id: str | None, template: str) -> str | None:
    """Return the address of a trace; None without an id or a template.

    The id comes from a runtime, so everything but letters, digits and ``-._~`` is escaped.

    >>> trace_url("a b/../c", "https://traces.example.com/t/{trace_id}")
    'https://traces.example.com/t/a%20b%2F..%2Fc'
    """
    if not trace_id or not template or not trace_id.strip("."):
        return None  # an id of dots alone would lead to another page
    return template.replace("{trace_id}", quote(trace_id, safe=""))
