"""Named starting points: a profile overrides a few defaults."""

from __future__ import annotations

from typing import Any, Final

PROFILES: Final[dict[str, dict[str, Any]]] = {
    # The defaults follow the guide to the letter.
    "guide": {},
    # The guide's own advice for cautious use: "auto_apply_q_threshold=0.95, auto_apply_min_samples=20".
    "conservative": {"auto_apply.q_threshold": 0.95, "auto_apply.min_samples": 20},
    # The rule alone rolls back a healthy variant every 40 to 132 invocations; here the evidence has to agree.
    "production": {
        "degradation.guard": "evidence",
        "degradation.head_start": 0.1,
        "degradation.baseline": "recent",
        "degradation.success_floor": 2.0,
        "degradation.reward_floor": 1.0,
        "degradation.error_floor": 2.0,
        "auto_apply.confidence": 3.0,
        "rollback.confidence": 0.84,
        "rollout.stages": (0.05, 0.25, 0.5),
        "operations.exploration": 0.0,
    },
}
"""The overridden values, by profile and dotted setting name."""

MEANING: Final[dict[str, str]] = {
    "guide": "the guide to the letter; its rule alone rolls a healthy variant back every 40 to 132 invocations",
    "conservative": "the guide, with automatic promotion only at Q >= 0.95 and 20 outcomes",
    "production": "a rollback needs the rule and the evidence: about one false rollback in 5,000 invocations",
}
"""What each profile means, for the user who chooses one."""
