"""An agent in Python without Kafka that reads its flags with flagd's provider in file mode.

    pip install openfeature-provider-flagd
    python examples/flagd_python.py FLAGS.json OUTCOMES.jsonl COUNT [SECONDS_PER_ANSWER]

`crl sync --to FLAGS.json --format flagd` writes the flags; `crl publish --file OUTCOMES.jsonl` sends the outcomes.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails

from crl_stream.wire.weights import bucket_of

AGENT, TASK = "refund-agent", "answer"
DEFAULTS = {"model": "m-1", "temperature": 0.5}
RUNTIME = os.environ.get("CRL_CLIENT_RUNTIME_ID", "python-agent")
"""A name that no other runtime of the fleet has."""


def call_the_model(configuration: Mapping[str, Any]) -> float:
    """Your agent goes here; this one only returns the quality of its answer."""
    return random.uniform(0.0, 0.3) if configuration["temperature"] > 1 else random.uniform(0.7, 1.0)


def write_outcome(file: Path, details: FlagEvaluationDetails[Any], session: str, quality: float) -> None:
    """Append one finished invocation; `topics/README.md` describes the fields."""
    metadata = details.flag_metadata
    outcome: dict[str, Any] = {
        "schema_version": 1,
        "invocation_id": str(uuid.uuid4()),
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "agent_name": AGENT,
        "task_type": TASK,
        "variant_id": details.variant or "default",
        "status": "failure" if quality < 0.4 else "success",
        "quality": quality,
        "session_id": session,
        "runtime_id": RUNTIME,
        "variant_source": "default",
    }
    if details.variant is not None:
        outcome["active_epoch"] = metadata["epoch"]  # with the runtime_id, this gets the receipt
        outcome["variant_source"] = "file" if details.variant == metadata["active_variant"] else "explore"
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(outcome) + "\n")


def answer(outcomes: Path, session: str) -> None:
    """Answer one customer."""
    # Without crl_bucket, flagd's own hash decides, and other runtimes may give this session another variant.
    context = EvaluationContext(session, {"crl_bucket": bucket_of(session)})
    details = api.get_client().get_object_details(f"{AGENT}/{TASK}", DEFAULTS, context)
    quality = call_the_model(details.value)
    write_outcome(outcomes, details, session, quality)
    said = {"variantId": details.variant, "epoch": details.flag_metadata.get("epoch"), "quality": quality}
    print(json.dumps({"sessionId": session} | said), flush=True)


def main() -> None:
    """Answer as many customers as were asked for."""
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    flags, outcomes, count, *pause = sys.argv[1:]
    # The provider looks at the file this often; its own default is 500 ms.
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=flags, deadline_ms=100)
    api.set_provider_and_wait(provider)
    for number in range(int(count)):
        answer(Path(outcomes), f"customer-{os.getpid()}-{number}")
        time.sleep(float(pause[0]) if pause else 0.02)
    api.shutdown()


if __name__ == "__main__":
    main()
