"""An agent that gets its configuration from OpenFeature; Ctrl-C ends it. `examples/README.md` says what to try.

    python examples/03_openfeature_agent.py [SECONDS_PER_ANSWER]

It uses CRL_BOOTSTRAP_SERVERS, else the Kafka of `crl up`. Lines that join crl-stream are marked: there are three.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from openfeature import api
from openfeature.evaluation_context import EvaluationContext

from crl_stream.openfeature import CrlProvider, tracked

TASK = "refund-agent/answer"
DEFAULTS = {"model": "m-1", "temperature": 0.5}
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 0.2


def call_the_model(configuration: Mapping[str, Any]) -> float:
    """Your agent goes here; this one only waits a moment and returns the quality of its answer."""
    time.sleep(SECONDS)
    return random.uniform(0.0, 0.3) if configuration["temperature"] > 1 else random.uniform(0.7, 1.0)


def answer(session: str) -> None:
    """Answer one customer."""
    client, context = api.get_client(), EvaluationContext(targeting_key=session)
    details = client.get_object_details(TASK, DEFAULTS, context)
    with tracked(client, TASK, context) as outcome:  # joins
        outcome.quality = call_the_model(details.value)  # joins
        if outcome.quality < 0.4:
            outcome.failed()
    print(f"{session}: {details.variant} {dict(details.flag_metadata)} quality {outcome.quality:.2f}", flush=True)


api.set_provider_and_wait(CrlProvider())  # joins
with suppress(KeyboardInterrupt):
    for number in itertools.count(1):
        answer(f"customer-{os.getpid()}-{number}")
api.shutdown()
