"""``crl window`` shows the state of a task, even when little is known about it."""

from __future__ import annotations

import json

from builders import AT, an_invocation, invocations

from cli.program import Program
from cli.views import serving
from crl_stream.core import messages as m
from crl_stream.stages.driver import TopologyDriver
from crl_stream.wire.codec import encode

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
    assert "held by ada since 2025-11-19 14:30:00 UTC until 2025-11-20 14:30:00 UTC: a new release" in text.out
    assert "No variant is known yet." in text.out
    assert text.err == "", "requested output is data, so all of it goes to stdout"
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
    assert "until 2025-11-20 14:30:00 UTC and 70 more outcomes: a new release" in text.out


def test_a_rollback_that_may_still_be_taken_back_is_shown_with_its_progress(crl: Program) -> None:
    running = {"rollback_id": "rb-1", "left_variant": "v2", "outcomes": 12, "outcomes_needed": 20}
    with serving([], review=HELD | {"verification": running}) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        text = crl.run("window", TASK)
    words = "rb-1 is being verified: 12 of 20 outcomes; it is taken back to v2 if they are worse"
    assert words in " ".join(text.out.split())


def test_a_candidate_that_waits_and_scores_that_came_too_late_are_said_in_words(crl: Program) -> None:
    driver = TopologyDriver()
    driver.pipe(*[an_invocation("default", invocation_id=f"i{n}", reward=0.92) for n in range(30)])
    driver.pipe(*invocations("v2", "S" * 10, reward=0.95, variant_source="explore"))
    score = m.Feedback(
        schema_version=1,
        feedback_id="f1",
        timestamp=AT,
        agent_name="backend-architect",
        task_type="api-design",
        invocation_id="i0",
        reward=-1.0,
    )
    driver.pipe(score)
    shown = json.loads(encode(driver.snapshot("backend-architect", "api-design")))
    with serving([], **{"api-design": shown}) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        text = crl.run("window", "backend-architect/api-design")
    said = text.out + text.err
    assert "not applied yet: 0.03 ahead of default in Q-value, 0.05 ahead needed" in said
    assert "1 score came too late: the window no longer held its outcome" in said


def test_a_rollout_in_progress_is_shown_with_its_share_and_what_it_waits_for(crl: Program) -> None:
    running = {"variant_id": "v9", "share": 0.05, "stage": 1, "stages": [0.05, 0.5], "waits_for": "3 of 20 outcomes"}
    with serving([], review=HELD | {"rollout": running}) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        text = crl.run("window", TASK)
    assert "v9 is being rolled out: 5 % of the invocations, stage 1 of 2; the next stage waits for: 3 of 20" in text.out


def test_an_incident_is_shown_with_its_variants_its_limits_and_the_way_to_end_it(crl: Program) -> None:
    incident = {
        "incident_id": "cc-20251119-0123456789ab",
        "tag": "provider:one",
        "since": "2025-11-19T14:30:00.000Z",
        "until": "2025-11-20T14:30:00.000Z",
        "outcomes_left": 1,
        "variants": ["v1", "v2"],
    }
    task = HELD | {"held": None, "common_cause": incident, "agent_name": "backend-architect", "task_type": "review"}
    with serving([], review=task) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        text, page = crl.run("window", TASK), crl.run("window", TASK, "--json")
    assert (
        "provider:one has been failing since 2025-11-19 14:30:00 UTC (cc-20251119-0123456789ab): v1, v2 fell "
        "together; they are neither replaced nor chosen automatically until one recovers, "
        "until 2025-11-20 14:30:00 UTC, or for 1 more outcome; "
        f"crl resume {TASK} ends this"
    ) in text.out.replace("\n", " ")
    assert json.loads(page.out)["common_cause"] == incident
