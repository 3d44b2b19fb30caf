"""Calibration gives the same result for a topic and a file with the same outcomes, under the policy in force."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from builders import AGENT, TASK, a_policy, an_invocation
from calibration.worlds import bernoulli, invocations_of
from installation import Installation
from msgspec.structs import replace

from crl_stream.core import messages as m
from crl_stream.core.policy import Degradation, Policy, PolicySet
from crl_stream.wire.codec import encode

pytestmark = pytest.mark.integration
QUICK = ("--tasks", "16", "--processes", "1", "--only-named", "--json")


def a_history() -> list[m.Invocation | m.Feedback]:
    random = Random(2)
    other = invocations_of("v2", bernoulli(random, 0.85, 60), variant_source="explore")
    active = invocations_of("v1", bernoulli(random, 0.9, 120), quality=0.8)
    score = m.Feedback(
        schema_version=1,
        feedback_id="late",
        timestamp="2025-11-19T14:30:00Z",
        agent_name=AGENT,
        task_type=TASK,
        invocation_id=active[-3].invocation_id,
        quality=0.1,
    )
    return [*other, *active, active[5], score]


async def test_a_topic_and_a_file_give_the_same_answer_under_the_policy_of_the_log(installation: Installation) -> None:
    history = a_history()
    strangers = [an_invocation("v1", agent_name="someone-else") for _ in range(20)]
    await installation.publish(*strangers[:10], *history, *strangers[10:])
    careful = replace(Policy(), degradation=Degradation(guard="evidence"))
    await installation.order(a_policy(PolicySet(careful)))
    file = installation.folder / "outcomes.jsonl"
    file.write_bytes(b"".join(encode(message) + b"\n" for message in history))
    pages: list[dict[str, Any]] = []
    for source in ((), ("-f", file.name)):
        code, out, err = await installation.run_crl("calibrate", f"{AGENT}/{TASK}", *source, *QUICK)
        assert code == 0, err
        pages.append(json.loads(out))
    of_topic, of_file = pages
    assert of_topic["source"] == installation.names("crl.invocations")
    assert of_topic | {"source": "outcomes.jsonl"} == of_file
    assert (of_topic["history"]["late_scores"], of_topic["history"]["duplicates"]) == (1, 1)
    assert of_topic["present"].startswith(f"policy {PolicySet(careful).digest()}, in force set by ada")
    assert "guard" in of_topic["policies"][0]["fragment"], "the settings have the guide's policy"


async def test_a_task_without_outcomes_is_not_found_and_those_that_have_some_are_named(
    installation: Installation,
) -> None:
    await installation.publish(an_invocation("v1", task_type="api-design"))
    code, _, err = await installation.run_crl("calibrate", f"{AGENT}/api-desing", *QUICK)
    assert code == 4
    assert "has no outcomes of backend-architect/api-desing" in err
