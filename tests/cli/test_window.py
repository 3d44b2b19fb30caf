"""``crl window`` says how a task stands, also when little is known of it."""

from __future__ import annotations

import json

from cli.program import Program
from cli.views import serving

HELD = {
    "active_variant": None,
    "epoch": 0,
    "n_outcomes": 0,
    "pinned": None,
    "held": {
        "actor": "ada",
        "reason": "a new release",
        "since": "2025-11-19T14:30:00.000Z",
        "until": "2025-11-20T14:30:00.000Z",
        "outcomes_left": None,
    },
    "variants": [],
    "as_of": {"partition": 0, "offset": 0},
    "timestamp": "2025-11-19T14:30:00.000Z",
}
TASK = "backend-architect/review"


def test_a_task_that_is_held_before_its_first_outcome_is_shown_with_its_hold(crl: Program) -> None:
    with serving([], review=HELD) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        text, page = crl.run("window", TASK), crl.run("window", TASK, "--json")
    assert text.code == 0
    assert text.out.startswith(f"{TASK}: nothing is active, epoch 0, 0 outcomes\n")
    assert "held by ada since 2025-11-19T14:30:00.000Z until 2025-11-20T14:30:00.000Z: a new release" in text.out
    assert "No variant is known yet." in text.out
    assert text.err == "", "what was asked for is data: a pipe must have it all"
    assert json.loads(page.out)["variants"] == []


def test_a_variant_that_the_task_has_not_is_not_found(crl: Program) -> None:
    with serving([], review=HELD) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        result = crl.run("window", TASK, "--variant", "v2")
    assert result.faults(4) == []
    assert f"{TASK} has no variant v2." in result.err


def test_a_hold_with_two_limits_is_shown_with_both(crl: Program) -> None:
    both = HELD | {"held": HELD["held"] | {"outcomes_left": 70}}  # type: ignore[operator]
    with serving([], review=both) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        text = crl.run("window", TASK)
    assert "until 2025-11-20T14:30:00.000Z and 70 more outcomes: a new release" in text.out
