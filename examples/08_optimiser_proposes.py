"""An optimiser that proposes: GEPA improves the prompt of a task's active variant, and a person decides about it.

    python examples/08_optimiser_proposes.py support/refund refund-gepa-1

It needs the package `gepa`.  It uses CRL_BOOTSTRAP_SERVERS, else the Kafka of `crl up`.  Both models here are scripted,
so it runs without a network; put calls of your models in `answer` and `reflect`.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import version
from typing import Any

from crl_stream.client import Resolver
from crl_stream.errors import CrlError
from crl_stream.proposals import propose

RULES = {
    "older than 30 days": "Deny requests that are older than 30 days.",
    "no receipt": "Deny requests that have no receipt.",
}
"""What a good prompt must say: the scripted model follows a rule only if its prompt has it."""


def a_request(days: int, receipt: str) -> dict[str, Any]:
    """Return one example: a request, the right answer, and why."""
    broken = [why for why, is_broken in zip(RULES, (days > 30, receipt == "no"), strict=True) if is_broken]
    context = {"policy": RULES[broken[0]]} if broken else {}
    asked = f"I want my money back. Bought {days} days ago, receipt: {receipt}."
    return {"input": asked, "additional_context": context, "answer": "DENY" if broken else "APPROVE"}


REQUESTS = [a_request(days, receipt) for receipt in ("yes", "no") for days in range(5, 65, 5)]


def answer(messages: list[dict[str, str]]) -> str:
    """Answer like the agent's model; this one does what its prompt says, and no more."""
    prompt, request = messages[0]["content"], messages[1]["content"]
    days = int(re.findall(r"(\d+) days ago", request)[0])
    too_old = RULES["older than 30 days"] in prompt and days > 30
    no_receipt = RULES["no receipt"] in prompt and "receipt: no" in request
    return "DENY" if too_old or no_receipt else "APPROVE"


def reflect(question: str) -> str:
    """Write a better prompt like a strong model; this one adds the first policy that the feedback mentions."""
    prompt = question.split("```")[1].strip()
    missing = [rule for rule in re.findall(r"policy: (.+)", question) if rule not in prompt]
    return f"```\n{prompt}\n{missing[0]}\n```" if missing else f"```\n{prompt}\n```"


def main(task: str, variant_id: str) -> int:
    """Improve the active variant's prompt, and file the result if it is better."""
    import gepa

    agent_name, _, task_type = task.partition("/")
    with Resolver() as resolver:
        resolver.wait_for_epoch(agent_name, task_type, 1, 10.0)
        active = resolver.resolve(agent_name, task_type)
    if active is None or "prompt" not in (active.configuration or {}):
        print(f"{task} has no active variant whose configuration has a prompt: see crl register", file=sys.stderr)
        return 4
    found: Any = gepa.optimize(
        seed_candidate={"prompt": active.configuration["prompt"]},
        trainset=REQUESTS[::2],
        valset=REQUESTS[1::2],
        task_lm=answer,
        reflection_lm=reflect,
        max_metric_calls=150,
        logger=Silent(),
    )
    before, after = found.val_aggregate_scores[0], found.val_aggregate_scores[found.best_idx]
    if after <= before:
        print(f"Nothing better than {active.variant_id} was found ({before:.2f}).")
        return 0
    proposal_id = propose(  # joins
        task,
        variant_id,
        source=f"gepa@{version('gepa')}",
        parent=active.variant_id,
        configuration=active.configuration | found.best_candidate,
        evidence={
            "n": len(REQUESTS[1::2]),
            "metric": "accuracy",
            "score_before": before,
            "score_after": after,
            "dataset": "refund-requests",
        },
        reason="The prompt now names the refund policy.",
        actor="nightly-optimiser",
    )
    print(f"{variant_id} is proposed: {before:.2f} -> {after:.2f}.  Decide: crl proposals show {proposal_id}")
    return 0


class Silent:
    """A logger for GEPA that writes nothing."""

    def log(self, message: str) -> None:
        """Write nothing."""


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("name a task and the new variant: support/refund refund-gepa-1", file=sys.stderr)
        sys.exit(2)
    try:
        sys.exit(main(*sys.argv[1:]))
    except ImportError:
        print("This example needs the package gepa: pip install gepa", file=sys.stderr)
        sys.exit(2)
    except CrlError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
