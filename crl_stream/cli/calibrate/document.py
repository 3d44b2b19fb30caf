"""A calibration as JSON."""

from __future__ import annotations

from typing import Any

from crl_stream.calibration.closed_loop import AFTER_FALL, HEALTHY
from crl_stream.calibration.estimates import CONFIDENCE, Estimate
from crl_stream.calibration.fragment import fragment
from crl_stream.calibration.measurement import FallFigures, Figures
from crl_stream.calibration.stock import FALLS, Stock
from crl_stream.cli.calibrate.page import Calibration


def document(found: Calibration) -> dict[str, Any]:
    """Return everything that the page shows; rates are per 1,000, shares from 0 to 1, delays in outcomes."""
    history, supply, advice = found.source.history, found.supply, found.recommendation
    return {
        "task": str(history.key),
        "source": found.source.place,
        "history": {
            "outcomes": history.outcomes,
            "older_outcomes": history.older,
            "duplicates": history.duplicates,
            "shadow_outcomes": history.shadow,
            "late_scores": history.scores,
            "variants": [_variant(stock, active=stock is supply.active) for stock in (supply.active, *supply.others)],
            "left_out": [{"variant_id": name, "outcomes": count} for name, count in supply.left_out],
        },
        "assumptions": {
            "good": "success" if supply.by_success else "reward",
            "made_up_failures": supply.synthetic,
            "whole": found.whole,
            "falls_to": list(FALLS),
            "falls_per_10000": found.falls,
            "false_rollback_budget_per_1000": found.budget,
            "healthy_outcomes": HEALTHY,
            "outcomes_after_fall": AFTER_FALL,
            "confidence": CONFIDENCE,
        },
        "seed": found.seed,
        "tasks": found.tasks,
        "present": found.source.present.words,
        "policies": [_policy(found, one) for one in found.figures],
        "recommendation": {
            "conclusion": advice.conclusion,
            "policy": None if advice.chosen is None else advice.chosen.alternative.name,
            "reasons": list(advice.reasons),
            "fragment": found.fragment(),
        },
    }


def _variant(stock: Stock, *, active: bool) -> dict[str, Any]:
    return {
        "variant_id": stock.name,
        "active": active,
        "copy_of": stock.copy_of,
        "outcomes": stock.total,
        "first": stock.stretch.first,
        "end": stock.stretch.end,
        "changes": [change._asdict() for change in stock.stretch.changes],
        "success_rate": stock.rates["success"],
        "error_rate": stock.rates["errors"],
        "avg_reward": stock.rates["reward"],
        "block_length": stock.length,
    }


def _policy(found: Calibration, one: Figures) -> dict[str, Any]:
    key, alternative = found.source.history.key, one.alternative
    return {
        "name": alternative.name,
        "same_as": list(alternative.same_as),
        "false_rollbacks_per_1000": _estimate(one.false_rollbacks),
        "healthy_loss_per_1000": _estimate(one.healthy_loss),
        "harm_per_1000": _estimate(one.harm),
        "gain_over_present_per_1000": _estimate(one.gain),
        "falls": [_fall(fall) for fall in one.falls],
        "fragment": fragment(key, alternative.policy, found.settings),
    }


def _fall(fall: FallFigures) -> dict[str, Any]:
    return {
        "to": fall.left,
        "leaving_pays": fall.pays,
        "caught": _estimate(fall.caught),
        "delay_median": fall.delay_median,
        "delay_p90": fall.delay_p90,
        "lost": _estimate(fall.lost),
    }


def _estimate(one: Estimate) -> dict[str, float]:
    return {"value": one.value, "low": one.low, "high": one.high, "simulated": one.simulated}
